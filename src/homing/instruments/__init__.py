"""prove: one file a claim, and the return experiment. No file here knows who runs it but :mod:`homing.instruments.playing`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from homing.lazy import lazy

if TYPE_CHECKING:
    from homing.instruments.base import Answer, Ask, Cell, Instrument, Scored, not_measurable
    from homing.instruments.home_return import HomeReturn, ReturnPreset
    from homing.instruments.playing import Played, play, play_cells
    from homing.instruments.pushes import PushScript, load_neutral, load_pushes
    from homing.instruments.return_arms import Arms
    from homing.instruments.return_shares import Share

__all__ = [
    "Answer",
    "Arms",
    "Ask",
    "Cell",
    "HomeReturn",
    "Instrument",
    "Played",
    "PushScript",
    "ReturnPreset",
    "Scored",
    "Share",
    "load_neutral",
    "load_pushes",
    "not_measurable",
    "play",
    "play_cells",
]

__getattr__, __dir__ = lazy(
    "homing.instruments",
    {
        "base": ("Answer", "Ask", "Cell", "Instrument", "Scored", "not_measurable"),
        "home_return": ("HomeReturn", "ReturnPreset"),
        "playing": ("Played", "play", "play_cells"),
        "pushes": ("PushScript", "load_neutral", "load_pushes"),
        "return_arms": ("Arms",),
        "return_shares": ("Share",),
    },
)
