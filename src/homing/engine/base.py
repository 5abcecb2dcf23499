"""The residual stream of one model on one runtime, as data: acts, reads, jobs, steps. No tensor types, no personas.

A *projection* is the inner product of a layer's output (the residual stream after that decoder layer) with a unit
vector, in the model's own raw units. Layer ``i`` always means the output of decoder layer ``i``, counted from 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from homing.errors import InputError

__all__ = [
    "Act",
    "ActKind",
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
    "SpanKind",
    "Step",
    "Stream",
    "ThinkMarkers",
]

SpanKind = Literal["prompt", "thinking", "reply"]
ActKind = Literal["floor", "ceiling", "add", "ablate"]
Finish = Literal["stop", "stop_string", "length", "cancelled", "deadline"]
F32 = NDArray[np.float32]
ALL_SPANS: frozenset[SpanKind] = frozenset({"prompt", "thinking", "reply"})
REPLY: frozenset[SpanKind] = frozenset({"reply"})


@dataclass(frozen=True, eq=False)
class Direction:
    """Unit vectors, one a layer.

    Args:
        name: for people; not part of the identity.
        layers: the decoder layers, ascending, each once.
        vectors: float32 ``(layers, hidden)``; made unit length here.

    Raises:
        InputError: shapes do not fit, a layer is repeated, or a vector is zero or not finite.
    """

    name: str
    layers: tuple[int, ...]
    vectors: F32

    def __post_init__(self) -> None:
        v = np.asarray(self.vectors, dtype=np.float32)
        if v.ndim != 2 or v.shape[0] != len(self.layers):
            raise InputError(
                f"direction {self.name!r} has vectors of shape {v.shape}; expected ({len(self.layers)}, hidden)"
            )
        if list(self.layers) != sorted(set(self.layers)) or (self.layers and self.layers[0] < 0):
            raise InputError(f"direction {self.name!r} has layers {self.layers}; give each once, ascending, from 0")
        norm = np.linalg.norm(v.astype(np.float64), axis=1, keepdims=True)
        if not np.isfinite(norm).all() or (norm == 0).any():
            raise InputError(f"direction {self.name!r} has a zero or non-finite vector; nothing can be projected on it")
        unit = np.ascontiguousarray((v / norm).astype(np.float32))
        unit.setflags(write=False)
        object.__setattr__(self, "vectors", unit)

    @cached_property
    def id(self) -> str:
        """Content id: the first 16 hexadecimal digits of the SHA-256 of layers and vectors."""
        h = hashlib.sha256(repr((self.layers, self.vectors.shape)).encode())
        h.update(self.vectors.tobytes())
        return h.hexdigest()[:16]

    def at(self, layer: int) -> F32:
        """The unit vector at ``layer``, shape ``(hidden,)``."""
        return self.vectors[self.layers.index(layer)]


@dataclass(frozen=True, slots=True)
class Gate:
    """Act only on tokens whose own projection on ``direction`` at ``layer`` is below (or above) ``threshold``.

    The gate's layer must not lie after the first layer acted on: it is read in the same pass.
    """

    direction: str
    layer: int
    threshold: float
    side: Literal["below", "above"] = "below"


@dataclass(frozen=True, slots=True)
class Act:
    """A change to the residual stream of one row.

    ``floor``: ``h += strength * max(threshold - <h, v>, 0) v``; ``ceiling``: ``h -= strength * max(<h, v> - threshold, 0) v``;
    ``add``: ``h += strength v``; ``ablate``: ``h -= strength <h, v> v``. For floor and ceiling a strength under 1 is a soft
    cap: that share of the gap is closed. (Floor: Lu et al. 2026, arXiv 2601.10387.)

    Args:
        kind: which of the four. Direction of the cap is part of the type; there is no sign to get wrong.
        direction: content id of a registered Direction, which must have every layer of ``layers``.
        layers: layers acted on, ascending.
        thresholds: raw projections, one a layer, for floor and ceiling; empty otherwise.
        strength: see above; finite, and over 0 for all but ``add``.
        spans: tokens acted on.
        gate: act only where it is open.
    """

    kind: ActKind
    direction: str
    layers: tuple[int, ...]
    thresholds: tuple[float, ...] = ()
    strength: float = 1.0
    spans: frozenset[SpanKind] = ALL_SPANS
    gate: Gate | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("floor", "ceiling", "add", "ablate"):
            raise InputError(f"act kind {self.kind!r} is unknown; use floor, ceiling, add or ablate")
        if not self.layers or list(self.layers) != sorted(set(self.layers)):
            raise InputError(f"act {self.kind} has layers {self.layers}; give at least one, each once, ascending")
        if self.kind in ("floor", "ceiling"):
            if len(self.thresholds) != len(self.layers):
                raise InputError(f"act {self.kind} has {len(self.thresholds)} thresholds for {len(self.layers)} layers")
            if any(np.isnan(t) for t in self.thresholds):
                raise InputError(f"act {self.kind} has a threshold that is not a number")
            if not 0.0 < self.strength <= 1.0:
                raise InputError(
                    f"strength of a {self.kind} is {self.strength}; it is the share of the gap closed, over 0 and up to 1"
                )
        elif self.thresholds:
            raise InputError(f"act {self.kind} takes no thresholds")
        if not np.isfinite(self.strength):
            raise InputError(f"strength of act {self.kind} is {self.strength}; it must be finite")
        if self.gate is not None and self.gate.layer > self.layers[0]:
            raise InputError(f"gate reads layer {self.gate.layer}, after the first layer acted on ({self.layers[0]})")


@dataclass(frozen=True, slots=True)
class Read:
    """Ask for the projection of every token of some spans, per layer, before any act at that layer changes it.

    Args:
        direction: content id of a registered Direction.
        layers: layers read, ascending.
        spans: tokens read.
        zero, unit: calibration, one a layer: a person reads ``(projection - zero) / unit``. Empty: raw.
    """

    direction: str
    layers: tuple[int, ...]
    spans: frozenset[SpanKind] = REPLY
    zero: tuple[float, ...] = ()
    unit: tuple[float, ...] = ()

    def calibrated(self, raw: F32) -> F32:
        """Raw projections ``(..., layers)`` to calibrated units, same shape."""
        if not self.zero:
            return raw
        return ((raw - np.asarray(self.zero, np.float32)) / np.asarray(self.unit, np.float32)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class MeanRead:
    """Ask for the mean residual vector over all tokens of one span, per layer (before any act at that layer)."""

    layers: tuple[int, ...]
    span: SpanKind = "reply"


LEAST_TEMPERATURE = 1e-6
"""One that is lower, and not 0, counts as this: a logit that is a millionth less has no chance, and float32 has numbers."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn.

    Args:
        max_new_tokens: at most so many, thinking included.
        temperature: 0 is greedy. ``top_p``: nucleus mass, over 0 and up to 1.
        seed: of this row alone; the same row with the same seed draws the same, whatever its company.
        stop: strings that end the reply and are not part of it. ``stop_tokens``: token ids that do; None: the model's own.
        top_logprobs: how many alternatives each Step lists.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    stop_tokens: tuple[int, ...] | None = None
    top_logprobs: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise InputError(f"max_new_tokens is {self.max_new_tokens}; it must be at least 1")
        if not 0.0 <= self.temperature <= 100.0:
            raise InputError(f"temperature is {self.temperature}; it must lie between 0 and 100")
        if not 0.0 < self.top_p <= 1.0:
            raise InputError(f"top_p is {self.top_p}; it must be over 0 and at most 1")
        if not 0 <= self.top_logprobs <= 20:
            raise InputError(f"top_logprobs is {self.top_logprobs}; it must lie between 0 and 20")


@dataclass(frozen=True, slots=True)
class ThinkMarkers:
    """Token sequences that open and close thinking inside a generated reply."""

    open: tuple[int, ...]
    close: tuple[int, ...]
    starts_inside: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """One row: a prompt to continue.

    Args:
        tokens: the prompt. ``spans``: one SpanKind a token (earlier replies in the prompt are ``reply``); empty: all prompt.
        sampling, acts, reads, means: as named.
        prefix: so many leading tokens are worth keeping for other jobs (a shared prompt or a fork); 0: none.
        think: markers of thinking in the generated part, where the template has them.
        tenant: prefixes are shared only inside a tenant.
        deadline_seconds: give up after so long, from submission; None: never.
    """

    tokens: tuple[int, ...]
    spans: tuple[SpanKind, ...] = ()
    sampling: Sampling = Sampling()
    acts: tuple[Act, ...] = ()
    reads: tuple[Read, ...] = ()
    means: tuple[MeanRead, ...] = ()
    prefix: int = 0
    think: ThinkMarkers | None = None
    tenant: str = ""
    deadline_seconds: float | None = None

    def __post_init__(self) -> None:
        if not self.tokens:
            raise InputError("a job has no prompt tokens; give at least one")
        if self.spans and len(self.spans) != len(self.tokens):
            raise InputError(f"a job has {len(self.spans)} spans for {len(self.tokens)} tokens")
        if not 0 <= self.prefix <= len(self.tokens):
            raise InputError(f"prefix of a job is {self.prefix}; it must lie between 0 and {len(self.tokens)}")


@dataclass(frozen=True, slots=True)
class Step:
    """One generated token, with what was read on it and done to it.

    A Step leaves when its own token has passed through the model, so readings and ``fired`` are of this very token;
    a job without reads and acts gets it as soon as it is drawn.

    Attributes:
        index: 0 for the first generated token. ``token``: its id. ``text``: the new text that it completes (may be empty).
        span: ``thinking`` or ``reply``. ``logprob``: natural log of its model probability at temperature 1.
        top: alternatives, ``(token, logprob)``.
        readings: one tuple a Read, one raw projection a layer. ``fired``: one tuple an Act, one a layer: by how much the
            projection was moved (0: it did not fire).
    """

    index: int
    token: int
    text: str
    span: SpanKind
    logprob: float
    top: tuple[tuple[int, float], ...] = ()
    readings: tuple[tuple[float, ...], ...] = ()
    fired: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class Result:
    """What is left of a job when its stream has ended.

    Attributes:
        text: the whole reply, thinking included, without the stop string or the end token.
        tokens: the generated ids, end token excluded. ``finish``: why it ended.
        prompt_tokens: how many. ``reused_tokens``: how many of them came from a stored prefix.
        prompt_readings: one array a Read: ``(prompt tokens, layers)`` float32, NaN where the span was not asked for.
        prompt_fired: one array an Act, same shape: by how much it moved each prompt token.
        means: one array a MeanRead: ``(layers, hidden)`` float32, NaN where the span had no token.
        seconds: from admission to the end.
    """

    text: str
    tokens: tuple[int, ...]
    finish: Finish
    prompt_tokens: int
    reused_tokens: int = 0
    prompt_readings: tuple[F32, ...] = ()
    prompt_fired: tuple[F32, ...] = ()
    means: tuple[F32, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, eq=False, slots=True)
class Score:
    """Log-probabilities of one continuation, and what was read on it.

    Attributes:
        logprobs: ``(tokens,)`` float32, each token given all before it; the first token of an empty prompt gets NaN.
        readings: one array a Read: ``(tokens, layers)`` raw projections of the continuation's tokens.
        means: one array a MeanRead over the continuation's tokens of that span: ``(layers, hidden)``.
        fired: one array an Act: ``(tokens, layers)``.
    """

    logprobs: F32
    readings: tuple[F32, ...] = ()
    means: tuple[F32, ...] = ()
    fired: tuple[F32, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What one engine is.

    Attributes:
        engine: ``torch`` or ``llamacpp``. ``fingerprint``: of model and weights. ``dtype``: of the weights in memory.
        layers, hidden, vocab: sizes. ``context``: most tokens of a row. ``slots``: most rows at once.
        supports: names of act kinds, and of ``gate``, ``mean``, ``score``, ``thinking``, that it can do.
        details: for ``doctor``: versions, threads, how layers were found.
        origin: digest of the GGUF file that the weights come from, whatever they were turned into; empty: from none.
    """

    engine: str
    fingerprint: str
    dtype: str
    layers: int
    hidden: int
    vocab: int
    context: int
    slots: int
    supports: frozenset[str]
    details: dict[str, Any] = field(default_factory=dict[str, Any])
    origin: str = ""


class Stream(Protocol):
    """The steps of one job, in order; ends by itself, or by ``cancel``. Closing the iterator cancels the row."""

    def __aiter__(self) -> AsyncIterator[Step]: ...
    def cancel(self) -> None: ...
    def update(self, acts: Sequence[Act]) -> None:
        """Replace the acts from the next token on. Raises Unsupported as submit does."""
        ...

    async def result(self) -> Result:
        """Wait for the end, reading on if nobody does; the same Result each time."""
        ...


class Engine(Protocol):
    """One model on one runtime. An act or read that it cannot do raises at submit: never a silent no-op."""

    @property
    def info(self) -> EngineInfo: ...

    def register(self, direction: Direction) -> str:
        """Make a direction known; returns its content id. Registering twice is free."""
        ...

    def submit(self, job: Job) -> Stream:
        """Queue one job. Must be called inside a running event loop.

        Raises:
            Busy: the queue is full. TooLong: prompt and reply exceed the context. Unsupported: an act or read is unknown.
        """
        ...

    def submit_all(self, jobs: Sequence[Job]) -> list[Stream]:
        """Queue several jobs so that they enter at one step boundary in this order: the same batch in every run."""
        ...

    async def score(
        self,
        prompt: Sequence[int],
        continuations: Sequence[Sequence[int]],
        *,
        spans: Sequence[Sequence[SpanKind]] = (),
        acts: Sequence[Act] = (),
        reads: Sequence[Read] = (),
        means: Sequence[MeanRead] = (),
        tenant: str = "",
    ) -> list[Score]:
        """Log-probabilities of each continuation after the prompt; the prompt is computed once.

        Args:
            spans: one sequence a continuation, one SpanKind a token; default: all ``reply``.
        """
        ...

    async def close(self) -> None:
        """Stop the engine and leave the model as it was."""
        ...
