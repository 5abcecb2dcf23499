"""One row while it lives: its text, its spans, what waits to leave."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.engine.base import Act, Finish, Job, Result, Score, SpanKind, Step, ThinkMarkers
from homing.engine.wants import CODE, Wants, codes_of

__all__ = ["Detok", "Drawn", "Log", "Row", "score_of"]

F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Drawn:
    """One drawn token with its log-probability at temperature 1 and the alternatives asked for."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(eq=False)
class Log:
    """What was read on the tokens of one row's prompt.

    Attributes:
        readings: (direction, layer) -> ``(tokens,)``, NaN where not read. ``fired``: (act, layer) -> ``(tokens,)``.
        sums: (layer, span) -> ``(hidden,)`` float32.
    """

    tokens: int
    readings: dict[tuple[str, int], F32] = field(default_factory=dict[tuple[str, int], F32])
    fired: dict[tuple[int, int], F32] = field(default_factory=dict[tuple[int, int], F32])
    sums: dict[tuple[int, SpanKind], F32] = field(default_factory=dict[tuple[int, SpanKind], F32])

    def head(self, tokens: int) -> Log:
        """The same of the first tokens; sums are not among it, since they cannot be cut."""
        return Log(
            tokens,
            {k: v[:tokens] for k, v in self.readings.items()},
            {k: v[:tokens] for k, v in self.fired.items()},
        )


class Detok:
    """Tokens to text, piece by piece, never splitting a character.

    Args:
        decode: token ids to text.
    """

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self._tokens: list[int] = []
        self._from = 0
        self._read = 0
        self._known = ""

    def push(self, token: int) -> str:
        """The text that is now complete."""
        self._tokens.append(token)
        text = self._decode(self._tokens[self._from :])
        if len(text) <= len(self._known) or text.endswith("\ufffd"):
            return ""
        piece = text[len(self._known) :]
        self._advance()
        return piece

    def rest(self) -> str:
        """What is left at the end: bytes that never made a character."""
        text = self._decode(self._tokens[self._from :])
        piece = text[len(self._known) :]
        self._advance()
        return piece

    @property
    def holds(self) -> bool:
        """Whether some tokens have not yet given their text."""
        return self._read < len(self._tokens)

    def _advance(self) -> None:
        self._from, self._read = self._read, len(self._tokens)
        self._known = self._decode(self._tokens[self._from : self._read])


class _StopText:
    """Holds back text that may be the beginning of a stop string."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = tuple(s for s in stops if s)
        self.held = ""

    def push(self, piece: str) -> tuple[str, bool]:
        """Text that may leave, and whether a stop string was met."""
        if not self._stops:
            return piece, False
        text = self.held + piece
        hits = [i for i in (text.find(s) for s in self._stops) if i >= 0]
        if hits:
            self.held = ""
            return text[: min(hits)], True
        keep = 0
        for s in self._stops:
            for k in range(min(len(s) - 1, len(text)), keep, -1):
                if text.endswith(s[:k]):
                    keep = k
                    break
        self.held = text[len(text) - keep :] if keep else ""
        return (text[: len(text) - keep] if keep else text), False

    def rest(self) -> str:
        out, self.held = self.held, ""
        return out


class _Thinking:
    """Which span a generated token belongs to."""

    def __init__(self, markers: ThinkMarkers | None) -> None:
        self._markers = markers
        self._inside = markers is not None and markers.starts_inside
        self._seen: list[int] = []

    def push(self, token: int) -> SpanKind:
        m = self._markers
        if m is None:
            return "reply"
        self._seen.append(token)
        if self._inside:
            if m.close and tuple(self._seen[-len(m.close) :]) == m.close:
                self._inside = False
                self._seen.clear()
            return "thinking"
        if m.open and tuple(self._seen[-len(m.open) :]) == m.open:
            self._inside = True
            self._seen.clear()
            return "thinking"
        return "reply"


@dataclass(eq=False)
class Pending:
    """A token that was drawn and has not yet left as a Step."""

    token: int
    text: str
    span: SpanKind
    drawn: Drawn
    index: int


class Row:
    """One job in the loop.

    Args:
        job: what was asked. stream: where its steps go. stops: token ids that end it. decode: ids to text.
        generator: its own source of chance, of the engine's kind.
    """

    def __init__(
        self,
        job: Job,
        stream: Any,
        *,
        stops: frozenset[int],
        decode: Callable[[list[int]], str],
        generator: Any = None,
    ) -> None:
        self.job, self.stream, self.stops = job, stream, stops
        self.company = frozenset({job.tenant})  # tenants of everything that was submitted with it
        self.codes = codes_of(job.spans, len(job.tokens))
        self.log = Log(len(job.tokens))
        self.prompt_acts = job.acts
        self.wants = Wants(job.acts, job.reads, job.means)
        self.reused = 0
        self.start = 0  # first column in the slot cache
        self.generator = generator
        self.tokens: list[int] = []
        self.text: list[str] = []
        self.pending: Pending | None = None  # drawn, to be fed
        self.lagging: Step | None = None  # fed, waits for held-back text
        self.sent = False  # whether the pending token has left as a Step already
        self.closing: Finish | None = None  # ends once the pending token has been fed
        self.counts: dict[SpanKind, int] = {"prompt": 0, "thinking": 0, "reply": 0}
        self.blocks: list[tuple[tuple[int, ...], SpanKind, F32]] = []  # sums over generated tokens
        self.sum_span: SpanKind = "reply"  # span that its running sum is of
        self.submitted = time.monotonic()
        self.admitted = 0.0
        self.cancelled = False
        self.new_acts: tuple[Act, ...] | None = None
        self._detok = Detok(decode)
        self._stop = _StopText(job.sampling.stop)
        self._think = _Thinking(job.think)

    @property
    def heavy(self) -> bool:
        """Whether its steps wait until their own token has passed through the model."""
        w = self.wants
        return bool(w.acts or w.reads or any(m.span != "prompt" for m in w.means))

    @property
    def remaining(self) -> int:
        """Columns that it may still fill."""
        return self.job.sampling.max_new_tokens - len(self.tokens) + 1

    @property
    def overdue(self) -> bool:
        d = self.job.deadline_seconds
        return d is not None and time.monotonic() - self.submitted > d

    def accept(self, drawn: Drawn) -> Finish | None:
        """Take the drawn token in; ``stop`` when it ends the row at once."""
        if drawn.token in self.stops:
            return "stop"
        span = self._think.push(drawn.token)
        piece, hit = self._stop.push(self._detok.push(drawn.token))
        self.pending = Pending(drawn.token, piece, span, drawn, len(self.tokens))
        self.tokens.append(drawn.token)
        self.counts[span] += 1
        if hit:
            self.closing = "stop_string"
        elif len(self.tokens) >= self.job.sampling.max_new_tokens:
            self.closing = "length"
        return None

    def take(self, drawn: Drawn) -> tuple[list[Step], Finish | None] | None:
        """Take the drawn token in: the steps that leave at once and why the row ends, or None where it waits to be fed."""
        why = self.accept(drawn)
        if why is not None:
            return self.finish(why), why
        self.sent = not self.heavy
        if not self.sent:
            return None
        steps = self.leave((), ())
        if self.closing is not None:
            return steps + self.finish(self.closing), self.closing
        return steps + ([] if self.holds_text else self.release()), None

    def leave(self, readings: tuple[tuple[float, ...], ...], fired: tuple[tuple[float, ...], ...]) -> list[Step]:
        """The pending token as a Step; it lags while text is held back, so that the last Step can carry the rest."""
        p = self.pending
        assert p is not None
        out = self.release()
        step = Step(p.index, p.token, p.text, p.span, p.drawn.logprob, p.drawn.top, readings, fired)
        self.lagging = step
        return out

    def release(self) -> list[Step]:
        """The lagging Step, if any."""
        if self.lagging is None:
            return []
        step, self.lagging = self.lagging, None
        if step.text:
            self.text.append(step.text)
        return [step]

    @property
    def holds_text(self) -> bool:
        """Whether text of tokens so far is held back."""
        return bool(self._stop.held) or self._detok.holds

    def finish(self, why: Finish) -> list[Step]:
        """The last Step, with all text that was held back (none after a stop string)."""
        if why != "stop_string" and self.lagging is not None:
            tail, hit = self._stop.push(self._detok.rest())
            tail += "" if hit else self._stop.rest()
            if tail:
                self.lagging = replace(self.lagging, text=self.lagging.text + tail)
        return self.release()

    def result(self, why: Finish) -> Result:
        """What is left of the row."""
        job = self.job
        n = len(job.tokens)
        readings: list[F32] = []
        for r in job.reads:
            a = np.full((n, len(r.layers)), np.nan, np.float32)
            wanted = np.isin(self.codes, [CODE[s] for s in r.spans])
            for j, layer in enumerate(r.layers):
                got = self.log.readings.get((r.direction, layer))
                if got is not None:
                    a[wanted, j] = got[wanted]
            readings.append(a)
        fired: list[F32] = []
        for k, act in enumerate(self.prompt_acts):
            a = np.zeros((n, len(act.layers)), np.float32)
            for j, layer in enumerate(act.layers):
                got = self.log.fired.get((k, layer))
                if got is not None:
                    a[:, j] = got
            fired.append(a)
        return Result(
            text="".join(self.text),
            tokens=tuple(self.tokens),
            finish=why,
            prompt_tokens=n,
            reused_tokens=self.reused,
            prompt_readings=tuple(readings),
            prompt_fired=tuple(fired),
            means=self._means(),
            seconds=time.monotonic() - self.admitted if self.admitted else 0.0,
        )

    def _means(self) -> tuple[F32, ...]:
        out: list[F32] = []
        for m in self.job.means:
            count = int((self.codes == CODE[m.span]).sum()) + self.counts[m.span]
            rows: list[F32] = []
            for layer in m.layers:
                parts = [
                    x[layers.index(layer)] for layers, span, x in self.blocks if span == m.span and layer in layers
                ]
                prompt = self.log.sums.get((layer, m.span))
                parts += [prompt] if prompt is not None else []
                if parts:
                    rows.append(np.asarray(np.sum(parts, axis=0) / max(count, 1), np.float32))
            if len(rows) == len(m.layers) and count:
                out.append(np.stack(rows).astype(np.float32))
            else:
                out.append(np.full((len(m.layers), self.stream.hidden), np.nan, np.float32))
        return tuple(out)


def score_of(log: Log, wants: Wants, codes: NDArray[np.int8], lead: int, values: F32, *, hidden: int) -> Score:
    """What was read on a continuation, from the log of prompt and continuation together.

    Args:
        codes: span codes of both. ``lead``: tokens of the prompt. ``values``: log-probabilities of the continuation.
    """
    readings: list[F32] = []
    tail = codes[lead:]
    for r in wants.reads:
        a = np.full((len(tail), len(r.layers)), np.nan, np.float32)
        wanted = np.isin(tail, [CODE[s] for s in r.spans])
        for j, layer in enumerate(r.layers):
            got = log.readings.get((r.direction, layer))
            if got is not None:
                a[wanted, j] = got[lead:][wanted]
        readings.append(a)
    means: list[F32] = []
    for m in wants.means:
        count = int((tail == CODE[m.span]).sum())
        if count:
            means.append(np.stack([log.sums[(layer, m.span)] for layer in m.layers]) / np.float32(count))
        else:
            means.append(np.full((len(m.layers), hidden), np.nan, np.float32))
    fired: list[F32] = []
    for k, act in enumerate(wants.acts):
        a = np.zeros((len(tail), len(act.layers)), np.float32)
        for j, layer in enumerate(act.layers):
            got = log.fired.get((k, layer))
            if got is not None:
                a[:, j] = got[lead:]
        fired.append(a)
    return Score(values, tuple(readings), tuple(means), tuple(fired))
