"""What one row asks of the residual stream, and which directions an engine knows."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.engine.base import Act, Direction, MeanRead, Read, SpanKind
from homing.errors import Unsupported

__all__ = ["CODE", "SPANS", "Known", "Wants", "codes_of", "effective"]

SPANS: tuple[SpanKind, ...] = ("prompt", "thinking", "reply")
CODE: dict[SpanKind, int] = {s: i for i, s in enumerate(SPANS)}


@dataclass(frozen=True, slots=True)
class Wants:
    """What one row asks of the stream."""

    acts: tuple[Act, ...] = ()
    reads: tuple[Read, ...] = ()
    means: tuple[MeanRead, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.acts or self.reads or self.means)


def codes_of(spans: Sequence[SpanKind], count: int, *, default: SpanKind = "prompt") -> NDArray[np.int8]:
    """Span codes of ``count`` tokens."""
    if not spans:
        return np.full(count, CODE[default], np.int8)
    return np.array([CODE[s] for s in spans], np.int8)


def effective(acts: Sequence[Act], codes: NDArray[np.int8]) -> tuple[Act, ...]:
    """The acts that touch any of these tokens."""
    here = {SPANS[int(c)] for c in set(codes.tolist()) if c >= 0}
    return tuple(a for a in acts if a.spans & here)


class Known:
    """Registered directions."""

    def __init__(self, *, layers: int, hidden: int) -> None:
        self.layers, self.hidden = layers, hidden
        self.directions: dict[str, Direction] = {}
        # register is called from the user's thread while the engine thread reads vectors
        self._lock = threading.Lock()

    def register(self, d: Direction) -> str:
        """Make a direction known; returns its content id.

        Raises:
            Unsupported: it has another width, or a layer that the model does not have.
        """
        if d.vectors.shape[1] != self.hidden:
            raise Unsupported(f"direction {d.name!r} has {d.vectors.shape[1]} dimensions; this model has {self.hidden}")
        if d.layers and d.layers[-1] >= self.layers:
            raise Unsupported(
                f"direction {d.name!r} names layer {d.layers[-1]}; this model has layers 0 to {self.layers - 1}"
            )
        with self._lock:
            self.directions.setdefault(d.id, d)
        return d.id

    def check(self, wants: Wants) -> None:
        """Refuse what cannot be done.

        Raises:
            Unsupported: an unknown direction, or a layer that it or the model does not have.
        """
        asked: list[tuple[str, str, int]] = []
        for a in wants.acts:
            asked += [(f"act {a.kind}", a.direction, layer) for layer in a.layers]
            if a.gate is not None:
                asked.append((f"gate of act {a.kind}", a.gate.direction, a.gate.layer))
        for r in wants.reads:
            asked += [("read", r.direction, layer) for layer in r.layers]
        for what, direction, layer in asked:
            d = self.directions.get(direction)
            if d is None:
                raise Unsupported(f"{what} names direction {direction!r}, which is not registered; call register first")
            if layer not in d.layers:
                raise Unsupported(
                    f"{what} asks for layer {layer}, which direction {d.name!r} does not have (it has {d.layers})"
                )
        for m in wants.means:
            if not m.layers or any(not 0 <= x < self.layers for x in m.layers):
                raise Unsupported(f"mean asks for layers {m.layers}; this model has layers 0 to {self.layers - 1}")
