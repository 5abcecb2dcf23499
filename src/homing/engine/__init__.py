"""The residual stream of one model on one runtime: acts, reads and jobs as data. Loads no torch."""

from homing.engine.base import (
    Act,
    Direction,
    Engine,
    EngineInfo,
    Gate,
    Job,
    MeanRead,
    Read,
    Result,
    Sampling,
    Score,
    Step,
    Stream,
    ThinkMarkers,
)
from homing.engine.score import ScoreJob

__all__ = [
    "Act",
    "Direction",
    "Engine",
    "EngineInfo",
    "Gate",
    "Job",
    "MeanRead",
    "Read",
    "Result",
    "Sampling",
    "Score",
    "ScoreJob",
    "Step",
    "Stream",
    "ThinkMarkers",
]
