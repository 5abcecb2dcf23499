"""The cap: a floor (or ceiling) on the projection of the residual stream, proved at load to push the right way.

Source: Lu et al. 2026 (arXiv 2601.10387). Its reference code caps from above and works only because its files hold
negated vectors; here the side is part of the type, and a cap that lowers what it should raise is refused.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from homing.conversation import Conversation
from homing.engine.base import ALL_SPANS, Act, Direction, Gate, Read, Sampling, SpanKind
from homing.errors import InputError
from homing.hold.base import Next, Turn
from homing.models.base import Capability, ChatModel, Done, Event, Intervention, Reply, ReplyRequest
from homing.persona.axis import Axis

__all__ = ["Cap", "CapStabiliser", "SelfTest"]

F32 = NDArray[np.float32]
SECTION_VERSION = 1
PROBE_PROMPTS = (
    ("You are an old sea captain who tells tall tales.", "How was your morning?"),
    ("You are a dramatic poet of the night.", "What do you think about rain?"),
    ("You are a witty court jester.", "Please give me some advice."),
)
"""Prompts of the self-test: a role, so that there is something to raise, and a question."""


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What the self-test of a cap saw, in raw projections on the axis.

    Attributes:
        cosine: smallest over its layers of the cap's direction with the axis, times +1 for a floor, -1 for a ceiling.
        moved: mean change of the projection on the axis, read one layer or more after the first layer acted on.
        fired: share of tokens and layers at which it fired.
        error: largest difference between what it says it did and what its threshold asks, relative to the largest move.
    """

    cosine: float
    moved: float
    fired: float
    error: float


@dataclass(frozen=True, eq=False)
class Cap:
    """A floor or ceiling on one direction.

    Args:
        kind: ``floor`` or ``ceiling``. ``direction``: whose projection is bounded.
        layers: acted on, ascending. ``thresholds``: raw projections, one a layer.
        spans: tokens acted on. ``strength``: share of the gap that is closed, over 0 and up to 1.
        gate: act only where it is open. ``gate_direction``: the gate's own direction, where it is another one.

    Raises:
        InputError: as Act does, and where the direction lacks a layer or the gate's direction is not the one named.
    """

    kind: Literal["floor", "ceiling"]
    direction: Direction
    layers: tuple[int, ...]
    thresholds: tuple[float, ...]
    spans: frozenset[SpanKind] = ALL_SPANS
    strength: float = 1.0
    gate: Gate | None = None
    gate_direction: Direction | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("floor", "ceiling"):
            raise InputError(f"kind of a cap is {self.kind!r}; use floor or ceiling")
        absent = [i for i in self.layers if i not in self.direction.layers]
        if absent:
            raise InputError(f"cap acts on layers {absent}, which its direction {self.direction.name!r} does not have")
        if self.gate is not None:
            known = [d.id for d in (self.direction, self.gate_direction) if d is not None]
            if self.gate.direction not in known:
                raise InputError(f"gate of a cap reads direction {self.gate.direction}, which was not given with it")
        self.acts()

    @classmethod
    def floor(
        cls,
        axis: Axis,
        layers: Sequence[int],
        thresholds: Sequence[float],
        *,
        strength: float = 1.0,
        spans: frozenset[SpanKind] = ALL_SPANS,
    ) -> Cap:
        """A floor on the axis: what falls below home's own range is raised to it."""
        return cls("floor", axis.direction, tuple(layers), tuple(float(t) for t in thresholds), spans, strength)

    @classmethod
    def floor_at(
        cls, axis: Axis, layers: Sequence[int], home_raw: F32, *, quantile: float, strength: float = 1.0
    ) -> Cap:
        """A floor at a quantile of the projections of home.

        Args:
            axis: whose projection.
            layers: acted on.
            home_raw: raw projections of home replies or tokens, ``(samples, axis layers)``.
            quantile: 0 to 1; the published cap uses 0.25.
            strength: share of the gap that is closed.
        """
        if home_raw.ndim != 2 or home_raw.shape[1] != len(axis.layers):
            raise InputError(f"home projections have shape {home_raw.shape}; expected (samples, {len(axis.layers)})")
        if not 0.0 <= quantile <= 1.0:
            raise InputError(f"quantile of a cap is {quantile}; it must lie between 0 and 1")
        at = [axis.layers.index(i) for i in layers]
        thresholds = np.nanquantile(home_raw[:, at].astype(np.float64), quantile, axis=0)
        return cls.floor(axis, layers, [float(t) for t in thresholds], strength=strength)

    def acts(self) -> tuple[Act, ...]:
        """The cap as acts of an engine; its direction must be registered there."""
        return (Act(self.kind, self.direction.id, self.layers, self.thresholds, self.strength, self.spans, self.gate),)

    def register(self, model: ChatModel) -> tuple[Act, ...]:
        """Make its directions known to a model, and return its acts."""
        model.register(self.direction)
        if self.gate_direction is not None:
            model.register(self.gate_direction)
        return self.acts()

    def to_section(self) -> tuple[dict[str, Any], dict[str, F32]]:
        """Data and arrays of the section ``cap`` of an Identity."""
        data: dict[str, Any] = {
            "kind": self.kind,
            "direction": {"name": self.direction.name, "layers": list(self.direction.layers), "id": self.direction.id},
            "layers": list(self.layers),
            "thresholds": list(self.thresholds),
            "spans": sorted(self.spans),
            "strength": self.strength,
            "gate": None,
        }
        arrays = {"direction": self.direction.vectors}
        if self.gate is not None:
            gate: dict[str, Any] = {
                "direction": self.gate.direction,
                "layer": self.gate.layer,
                "threshold": self.gate.threshold,
                "side": self.gate.side,
            }
            if self.gate_direction is not None:
                gate["name"] = self.gate_direction.name
                gate["layers"] = list(self.gate_direction.layers)
                arrays["gate"] = self.gate_direction.vectors
            data["gate"] = gate
        return data, arrays

    @classmethod
    def from_section(cls, data: Mapping[str, Any], arrays: Mapping[str, F32]) -> Cap:
        """The inverse of :meth:`to_section`.

        Raises:
            InputError: a field is missing or of the wrong kind; named.
        """
        try:
            direction = Direction(data["direction"]["name"], tuple(data["direction"]["layers"]), arrays["direction"])
            raw_gate = data["gate"]
            gate = gate_direction = None
            if raw_gate is not None:
                gate = Gate(
                    raw_gate["direction"], int(raw_gate["layer"]), float(raw_gate["threshold"]), raw_gate["side"]
                )
                if "gate" in arrays:
                    gate_direction = Direction(raw_gate["name"], tuple(raw_gate["layers"]), arrays["gate"])
            return cls(
                data["kind"],
                direction,
                tuple(data["layers"]),
                tuple(float(t) for t in data["thresholds"]),
                frozenset(cast("list[SpanKind]", data["spans"])),
                float(data["strength"]),
                gate,
                gate_direction,
            )
        except (KeyError, TypeError, ValueError) as e:
            raise InputError(f"section cap cannot be read: {type(e).__name__} {e}; map the model again") from e

    def cosine(self, axis: Axis) -> float:
        """Smallest cosine over its layers of where it pushes with the axis: under 0 it pushes away from home."""
        side = 1.0 if self.kind == "floor" else -1.0
        absent = [i for i in self.layers if i not in axis.layers]
        if absent:
            raise InputError(
                f"cap acts on layers {absent}, which the axis does not have; give an axis with every layer"
            )
        return min(side * float(self.direction.at(i) @ axis.direction.at(i)) for i in self.layers)

    async def self_test(self, model: ChatModel, axis: Axis, *, seed: int = 0, tokens: int = 12) -> SelfTest:
        """Prove on the real model that the cap engages and raises what it should raise.

        Replies are made in a few roles without the cap; the same text then passes with a probing copy of the cap, whose
        threshold lies where about every token fires, and the projection on the axis is read one layer after it.
        The cap itself also makes a reply, whose log of what fired must be what thresholds and projections ask.

        Raises:
            InputError: the cap pushes away from home, does not arrive, or the engine did something else than it logs.
        """
        cosine = self.cosine(axis)
        what = f"{self.kind} on {self.direction.name!r}"
        if cosine <= 0:
            raise InputError(
                f"cap ({what}) lowers what it should raise: it pushes at cosine {cosine:+.2f} to the axis from roles to"
                " home; negate the vectors, or turn floor into ceiling"
            )
        later = [i for i in axis.layers if i > self.layers[0]]
        if not later:
            raise InputError(
                f"cap ({what}) acts first at layer {self.layers[0]}; the axis has no later layer to see it at"
            )
        model.register(axis.direction)
        acts = self.register(model)
        talks = [Conversation.of(question, system=role) for role, question in PROBE_PROMPTS]
        sampling = Sampling(max_new_tokens=tokens, temperature=0.0, seed=seed)
        own = Read(self.direction.id, self.layers)
        plain = await model.replies([ReplyRequest(c, sampling, reads=(own,)) for c in talks])
        held = await model.replies([ReplyRequest(c, sampling, acts, (own,)) for c in talks])
        fired, error = self._honest(held)
        if error > 0.02:
            raise InputError(
                f"cap ({what}) did not do what its log says (relative error {error:.2f}); this engine cannot be trusted"
            )
        probe = self._probing(np.concatenate([r.readings[0] for r in plain]))
        seen = Read(axis.direction.id, (later[0],))
        moved: list[float] = []
        for talk, reply in zip(talks, plain, strict=True):
            text = talk.then(reply.text or "Yes.")
            before = await model.read(text, reads=(seen,))
            after = await model.read(text, reads=(seen,), acts=probe.acts())
            moved.append(float(np.nanmean(after[-1].readings[0]) - np.nanmean(before[-1].readings[0])))
        mean = float(np.mean(moved))
        if not mean > 0:
            raise InputError(
                f"cap ({what}) lowers what it should raise: at layer {later[0]} the projection on the axis moved by"
                f" {mean:+.3f}; it was made for other weights, or layers are counted otherwise"
            )
        return SelfTest(cosine, mean, fired, error)

    def _honest(self, replies: Sequence[Reply]) -> tuple[float, float]:
        """Share of tokens and layers fired, and the largest relative error of the log."""
        raw = np.concatenate([r.readings[0] for r in replies]).astype(np.float64)
        said = np.abs(np.concatenate([r.fired[0] for r in replies]).astype(np.float64))
        gap = np.asarray(self.thresholds)[None] - raw
        asked = self.strength * np.maximum(gap if self.kind == "floor" else -gap, 0.0)
        if self.gate is not None or "reply" not in self.spans:
            asked = np.where(said > 0, asked, 0.0)  # whether the gate was open is the engine's to know
        bad = ~np.isfinite(asked) | ~np.isfinite(said)
        asked, said = np.where(bad, 0.0, asked), np.where(bad, 0.0, said)
        scale = max(float(asked.max(initial=0.0)), 1e-3)
        return float((said > 0).mean()), float(np.abs(said - asked).max(initial=0.0) / scale)

    def _probing(self, raw: F32) -> Cap:
        """This cap with a threshold at which about every token fires, ungated, at its first layer alone."""
        column = raw[:, 0][np.isfinite(raw[:, 0])]
        spread = max(float(column.std()), 1e-3 * float(np.abs(column).max(initial=1.0)), 1e-3)
        edge = float(column.max() + spread) if self.kind == "floor" else float(column.min() - spread)
        return replace(
            self,
            layers=self.layers[:1],
            thresholds=(edge,),
            spans=ALL_SPANS,
            strength=1.0,
            gate=None,
            gate_direction=None,
        )


@dataclass(frozen=True, eq=False)
class CapStabiliser:
    """The cap as a hold: adds its acts to the turn, and says of every token that fired by how much."""

    cap: Cap

    @property
    def name(self) -> str:
        return "cap"

    @property
    def needs(self) -> frozenset[Capability]:
        return frozenset({"acts"})

    @property
    def buffers(self) -> bool:
        return False

    async def __call__(self, turn: Turn, *, model: ChatModel, next: Next) -> AsyncGenerator[Event, None]:
        acts = self.cap.register(model)
        first = len(turn.acts)
        told = False
        events = cast("AsyncGenerator[Event, None]", next(replace(turn, acts=(*turn.acts, *acts))))
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Intervention) and event.hold == acts[0].direction:
                    told = True
                    yield replace(event, hold=self.name)
                    continue
                if isinstance(event, Done) and not told:
                    for i, amount in enumerate(_amounts(event, first)):
                        if amount > 0:
                            yield Intervention(self.name, i, amount)
                yield event


def _amounts(done: Done, act: int) -> list[float]:
    """Per token, the largest move over layers of one act."""
    if act >= len(done.reply.fired):
        return []
    fired = np.nan_to_num(np.abs(done.reply.fired[act]))
    return [float(x) for x in fired.max(axis=1)] if fired.size else []


def cap(cap: Cap) -> CapStabiliser:
    """A hold by a cap."""
    return CapStabiliser(cap)


STABILISERS = {"cap": cap}
