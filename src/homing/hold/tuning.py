"""Choose where a cap acts and how high it stands, on the tuning half alone; every candidate's figures are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import InputError
from homing.hold.arms import Arm, run_arms
from homing.hold.cap import Cap
from homing.hold.roleplay import RolePlay
from homing.jsonable import strict
from homing.models.base import ChatModel
from homing.persona.axis import Axis
from homing.persona.battery import Difficulty, generate, score_items, tuning_items
from homing.stats.seeds import stable_seed

__all__ = ["Candidate", "Tuning", "candidates", "tune", "windows"]

F32 = NDArray[np.float32]
PRICE_WEIGHT = 0.5
"""Home distances that one nat of the right answers' log-probability is worth when candidates are compared."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One setting and what it did on the tuning half.

    Attributes:
        layers: acted on.
        quantile: of home's projections, where the floor stands.
        lift: mean of the text's position, at most 1 (home), minus the un-held one, read without acts.
        logprob: mean change of the battery's right answers, nats. ``fluency``: of the held text, nats a token.
        engaged: share of tokens and layers at which it fired. ``score``: ``lift + 0.5 min(logprob, 0)``.
    """

    layers: tuple[int, ...]
    quantile: float
    lift: float = float("nan")
    logprob: float = float("nan")
    fluency: float = float("nan")
    engaged: float = float("nan")
    score: float = float("nan")

    def to_json(self) -> dict[str, Any]:
        """A JSON object; what is not a number becomes null."""
        raw = {k: getattr(self, k) for k in ("quantile", "lift", "logprob", "fluency", "engaged", "score")}
        return strict({"layers": self.layers, **raw})


@dataclass(frozen=True, eq=False, slots=True)
class Tuning:
    """The choice.

    Attributes:
        cap: chosen. ``best``: its candidate. ``tried``: all of them.
        barred: digests of the pushes and battery items used.
    """

    cap: Cap
    best: Candidate
    tried: tuple[Candidate, ...]
    barred: frozenset[str] = field(default_factory=frozenset[str])

    def to_json(self) -> dict[str, Any]:
        """A JSON object, without the cap."""
        return {
            "best": self.best.to_json(),
            "tried": [c.to_json() for c in self.tried],
            "barred": sorted(self.barred),
        }


def windows(axis: Axis, depth: int, *, width: int = 8) -> tuple[tuple[int, ...], ...]:
    """Windows of neighbouring layers in the later middle of a model, that the axis has and can see after.

    They start at 45%, 53% and 60% of the depth; 8 wide in a model of 30 layers, narrower in a shallower one.
    """
    wide = max(1, min(width, round(depth * width / 30)))
    out: list[tuple[int, ...]] = []
    for share in (0.53, 0.60, 0.45):
        first = round(share * depth)
        layers = tuple(i for i in range(first, first + wide) if i in axis.layers)
        seen_later = bool(layers) and any(i > layers[0] for i in axis.layers)
        if seen_later and layers not in out:
            out.append(layers)
    if not out:
        raise InputError(
            f"the axis has layers {axis.layers}, none of them in the later middle of {depth}; map more layers"
        )
    return tuple(out)


def candidates(
    axis: Axis, depth: int, *, quantiles: Sequence[float] = (0.5, 0.25), n: int = 6
) -> tuple[Candidate, ...]:
    """At most ``n`` settings: every window at every quantile."""
    return tuple(Candidate(w, q) for w in windows(axis, depth) for q in quantiles)[:n]


async def tune(
    model: ChatModel,
    axis: Axis,
    home_raw: F32,
    items: Sequence[RolePlay],
    *,
    options: Sequence[Candidate] = (),
    max_new_tokens: int = 32,
    price_items: int = 24,
    difficulty: Difficulty | None = None,
    seed: int = 0,
    advance: Callable[[int], None] = lambda n: None,
) -> Tuning:
    """Try each candidate on pushes of the tuning half, and keep the best by lift of the text less its price.

    Being lifted beyond home earns nothing: too strong a cap goes elsewhere.

    Args:
        model: to ask. ``axis``: read with.
        home_raw: raw projections of home, ``(samples, axis layers)``.
        items: pushes of the tuning half. ``options``: settings to try; default: :func:`candidates`.
        max_new_tokens: of a reply. ``price_items``: battery items a candidate is priced on.
        difficulty: of the battery; its own items are asked, which no price uses again.
        seed: of sampling and items.
        advance: told how many replies were made.

    Raises:
        InputError: a push of the report half, or nothing to try.
    """
    wrong = [i.id for i in items if i.half != "tune"]
    if wrong or not items:
        raise InputError(f"settings are chosen on the tuning half alone; {', '.join(wrong[:3]) or 'no push'} was given")
    options = tuple(options) or candidates(axis, model.info.layers)
    caps = [Cap.floor_at(axis, o.layers, home_raw, quantile=o.quantile) for o in options]
    arms = [Arm("plain"), *(Arm(str(i), (c.register(model),)) for i, c in enumerate(caps))]
    runs = await run_arms(
        model, axis, items, arms, max_new_tokens=max_new_tokens, seed=stable_seed("tune", seed), advance=advance
    )
    asked = (
        tuning_items(difficulty, price_items)
        if difficulty is not None
        else generate(price_items, seed=stable_seed("tuning price", seed))
    )
    base = await score_items(model, asked)
    plain = runs["plain"]
    tried: list[Candidate] = []
    for i, (o, c) in enumerate(zip(options, caps, strict=True)):
        run = runs[str(i)]
        held = await score_items(model, asked, acts=c.acts())
        lift = _mean(np.minimum(run.position, np.maximum(1.0, plain.position)) - plain.position)
        logprob = _mean(held.right - base.right)
        tried.append(
            Candidate(
                o.layers,
                o.quantile,
                lift,
                logprob,
                _mean(run.logprob - plain.logprob),
                float(run.engaged.mean()),
                lift + PRICE_WEIGHT * min(logprob, 0.0),
            )
        )
    best = int(np.argmax(np.nan_to_num([t.score for t in tried], nan=-np.inf)))
    barred = {i.digest for i in items} | {i.digest for i in asked}
    return Tuning(caps[best], tried[best], tuple(tried), frozenset(barred))


def _mean(x: NDArray[np.float64]) -> float:
    known = x[np.isfinite(x)]
    return float(known.mean()) if len(known) else float("nan")
