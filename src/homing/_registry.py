"""What Inspect finds of this package by its entry point: one task an instrument, and the provider ``homing/<model>``."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from inspect_ai import task
from inspect_ai.model import modelapi

from homing.instruments.inspect_tasks import instrument_task
from homing.instruments.peer_preservation_tools import peer_preservation_tools as _with_tools
from homing.instruments.registry import available, get

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.model import ModelAPI

__all__ = ["homing_provider"]


@modelapi(name="homing")
def homing_provider() -> type[ModelAPI]:
    """Local models: ``--model homing/smollm2``; what opens them is imported when one is asked for."""
    from homing.models.inspect_provider import HomingAPI

    return HomingAPI


def _task_of(name: str) -> Callable[..., Task]:
    def make(preset: Any = "smoke", seed: int = 0, hold: str = "none") -> Task:
        return instrument_task(get(name), preset=preset, seed=seed, hold=hold)

    make.__name__, make.__doc__ = name, f"The instrument {name}."
    return task(name=name)(make)


def _peers_with_tools(preset: Any = "smoke", seed: int = 0, hold: Any = "none") -> Task:
    """The instrument peer_preservation with tools that are called."""
    return _with_tools(preset, seed, hold)


peer_preservation_tools = task(name="peer_preservation_tools")(_peers_with_tools)
globals().update({name: _task_of(name) for name in available()})
