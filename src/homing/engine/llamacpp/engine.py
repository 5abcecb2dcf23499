"""The llama.cpp engine: a GGUF on the stock library, read and acted on while it generates."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import numpy as np

from homing.engine.base import EngineInfo, Sampling
from homing.engine.front import Front
from homing.engine.llamacpp.batch import LlamaBatch
from homing.engine.llamacpp.callback import Tables, compiled
from homing.engine.llamacpp.carrier import find_carrier
from homing.engine.llamacpp.context import MOST_SEQUENCES, Context, Weights
from homing.engine.llamacpp.guard import ThreadGuard
from homing.engine.llamacpp.passes import Passes
from homing.engine.llamacpp.sampler import generator_for
from homing.engine.loop import Loop
from homing.engine.wants import Known
from homing.errors import ModelError

__all__ = ["LlamaEngine"]

_SUPPORTS = frozenset({"floor", "ceiling", "add", "ablate", "gate", "mean", "score", "thinking"})
ROWS = 2048
LEAST_CELLS = 4096
KNOWN = ("llama", "olmo2", "qwen2", "qwen3")
"""Architectures that the tests write, open and hold."""


class LlamaEngine(Front):
    """Engine over one GGUF file.

    Args:
        path: of the file. ``slots``: most rows decoded at once. ``threads``: of a decode; None: all cores.
        context: most tokens of a row; None: what the model was trained on, or what the memory for keys and values holds.
        memory: bytes for keys and values of all rows; None: a thirty-second of the machine's, or what 4096 tokens need: always
            the same on one machine.
        fingerprint: of the model. ``origin``: of the file that it was made of, where it is not the same.
        queue: most rows that may wait. ``python_callback``: leave the compiled one aside.
        remember: keep stored prefixes whatever is asked for next. Then the last bits of a reply, and with quantised weights
            its words, may follow what ran before it.

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
        memory: int | None = None,
        fingerprint: str = "",
        origin: str = "",
        queue: int = 65536,
        python_callback: bool = False,
        remember: bool = False,
    ) -> None:
        carrier = find_carrier()
        self.weights = Weights(carrier, path)
        w = self.weights
        slots = min(slots, MOST_SEQUENCES // 2)
        threads = threads or _cores()
        held = max(LEAST_CELLS, (memory or _physical() // 32) // w.cell_bytes)
        longest = min(w.context, context or held, held)
        cells = min(slots * longest, held)
        library = None if python_callback else compiled()
        tables = Tables(w.hidden, w.layers, ROWS)
        self._known = Known(layers=w.layers, hidden=w.hidden)
        pool = Context(
            w,
            tables,
            library,
            cells=cells + cells // 4 + ROWS,
            sequences=min(MOST_SEQUENCES, ROWS),
            threads=threads,
            rows=ROWS,
        )
        self._pool = pool
        prove(pool, tables)
        guard = ThreadGuard(threads)
        guard.settle(pool, lambda: _small(pool, tables))
        self._stops = w.stops
        self._info = EngineInfo(
            engine="llamacpp",
            fingerprint=fingerprint,
            dtype=w.kind,
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
            origin=origin or fingerprint,
        )
        self._loop = Loop(
            LlamaBatch(Passes(pool, tables, self._known, guard), slots=slots, cells=cells, remember=remember),
            queue=queue,
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


def _small(pool: Context, tables: Tables) -> None:
    """One token, with nothing read."""
    none = np.full(1, -1, np.int32)
    tables.begin(none, np.zeros(1, np.int32), none, np.zeros(1, np.uint8), np.arange(1))
    pool.decode([0], [0], [0], np.ones(1, bool))
    pool.clear()


def _cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _physical() -> int:
    """Bytes of memory that the machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def prove(pool: Context, tables: Tables) -> None:
    """Run two tokens and see that every layer's residual stream came by, with as many rows as were asked for.

    Raises:
        ModelError: a layer did not, what came out is not finite, or the model keeps a running state, which cannot be cut and
            shared; names the architecture and those that are known to work.
    """
    w = pool.weights
    if w.keeps_state:
        raise ModelError(
            f"{w.path.name} is of architecture {w.meta('general.architecture')!r}, which keeps a running state in place of keys"
            f" and values; that cannot be cut at a token, so it is not run. Known to work: {', '.join(KNOWN)}"
        )
    v = np.full(w.hidden, 1.0, np.float32)
    tables.reading({"probe": dict.fromkeys(range(w.layers), v)})
    none, rows = np.full(2, -1, np.int32), np.arange(2)
    tables.begin(none, np.zeros(2, np.int32), none, np.ones(2, np.uint8), rows)
    pool.decode([0, 1 % w.vocab], [0, 1], [0, 0], np.ones(2, bool))
    finite = all(bool(np.isfinite(pool.logits(i)).all()) for i in range(2))
    pool.clear()
    missing = [i for i in range(w.layers) if tables.arrays["cursor"][i] != 2]
    if missing:
        raise ModelError(
            f"{w.path.name} is of architecture {w.meta('general.architecture')!r}, whose graph does not show the residual"
            f" stream of layer {missing[0]}; it can be run on torch. Known to work: {', '.join(KNOWN)}"
        )
    if not finite:
        raise ModelError(f"{w.path} gives logits that are not finite; its weights are damaged: fetch it again")
    tables.reading({})
