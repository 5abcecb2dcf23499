"""The llama.cpp engine: a GGUF on the stock library, read and acted on while it generates."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from homing.engine.base import EngineInfo, Sampling
from homing.engine.front import Front
from homing.engine.llamacpp.batch import LlamaBatch
from homing.engine.llamacpp.callback import Tables, compiled
from homing.engine.llamacpp.carrier import find_carrier
from homing.engine.llamacpp.context import MOST_SEQUENCES, Context, Weights
from homing.engine.llamacpp.guard import ThreadGuard
from homing.engine.llamacpp.sampler import generator_for
from homing.engine.loop import Loop
from homing.engine.wants import Known

__all__ = ["LlamaEngine"]

_SUPPORTS = frozenset({"floor", "ceiling", "add", "ablate", "gate", "mean", "score", "thinking"})
ROWS = 2048


class LlamaEngine(Front):
    """Engine over one GGUF file.

    Args:
        path: of the file. ``slots``: most rows decoded at once. ``threads``: of a decode; None: all cores.
        context: most tokens of a row; None: what the model was trained on, 2048 at most.
        fingerprint: of the model. ``queue``: most rows that may wait. ``python_callback``: leave the compiled one aside.

    Raises:
        MissingExtra: no wheel carries the library. ModelError: the library or the file cannot be used.
    """

    def __init__(
        self,
        path: Path,
        *,
        slots: int = 16,
        threads: int | None = None,
        context: int | None = None,
        fingerprint: str = "",
        queue: int = 65536,
        python_callback: bool = False,
    ) -> None:
        carrier = find_carrier()
        self.weights = Weights(carrier, path)
        w = self.weights
        longest = min(w.context, context or 2048)
        slots = min(slots, MOST_SEQUENCES // 2)
        threads = threads or len(os.sched_getaffinity(0))
        cells = slots * longest
        library = None if python_callback else compiled()
        tables = Tables(w.hidden, w.layers, ROWS)
        self._known = Known(layers=w.layers, hidden=w.hidden)
        pool = Context(
            w, tables, library, cells=cells + 2 * longest, sequences=MOST_SEQUENCES, threads=threads, rows=ROWS
        )
        self._pool = pool
        self._stops = w.stops
        self._info = EngineInfo(
            engine="llamacpp",
            fingerprint=fingerprint,
            dtype=w.meta("general.file_type") or "",
            layers=w.layers,
            hidden=w.hidden,
            vocab=w.vocab,
            context=longest,
            slots=slots,
            supports=_SUPPORTS,
            details={
                carrier.package: carrier.version,
                "threads": threads,
                "callback": "python" if library is None else "compiled",
                "architecture": w.meta("general.architecture"),
                "max_tokens": cells,
            },
        )
        self._loop = Loop(
            LlamaBatch(pool, tables, self._known, ThreadGuard(threads), slots=slots, cells=cells), queue=queue
        )
        self._closed = False

    async def close(self) -> None:
        """Stop the engine and free the model."""
        await asyncio.to_thread(self.close_now)

    def close_now(self) -> None:
        """The same from code without an event loop; waits for the step that is running."""
        if self._closed:
            return
        self._closed = True
        self._loop.close()
        self._pool.close()
        self.weights.close()

    def _generator(self, sampling: Sampling) -> Any:
        return generator_for(sampling)

    def _decode(self, tokens: list[int]) -> str:
        return b"".join(self.weights.piece(t) for t in tokens).decode("utf-8", "replace")
