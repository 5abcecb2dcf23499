"""Directions that a cap must beat: random, orthogonal and label-shuffled, matched in engagement and in norm.

Any push changes a text. A cap is believed only where it does more than pushes of the same size, at as many tokens,
along directions that mean nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from homing.conversation import Conversation
from homing.engine.base import Act, Direction, Gate, Read, Sampling
from homing.errors import InputError
from homing.hold.arms import fired
from homing.hold.cap import Cap
from homing.models.base import ChatModel, Reply, ReplyRequest
from homing.persona.axis import Axis
from homing.stats.seeds import stable_seed

__all__ = ["CONTROL_KINDS", "ControlKind", "Matched", "control_directions", "match_controls"]

ControlKind = Literal["random", "orthogonal", "shuffled"]
CONTROL_KINDS: tuple[ControlKind, ...] = get_args(ControlKind)
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


def control_directions(
    axis: Axis,
    *,
    seed: int,
    residuals: F32 | None = None,
    role_vectors: F32 | None = None,
    home: NDArray[np.bool_] | None = None,
    draws: int = 2,
) -> dict[ControlKind, tuple[Direction, ...]]:
    """Meaningless directions at the layers of the axis.

    Args:
        axis: what they stand against. ``seed``: of the draws. ``draws``: directions of each kind.
        residuals: reply vectors ``(replies, axis layers, hidden)``. Random directions are drawn with their covariance
            (a Gaussian mixture of the centred replies, the same at every layer); without them, isotropic.
        role_vectors: ``(roles, axis layers, hidden)``: orthogonal directions lie in their span, at right angles to the
            axis; without them, at right angles to the axis anywhere.
        home: ``(replies,)``, which of ``residuals`` are home: the labels that are shuffled. Without it, none are.
    """
    shape = (len(axis.layers), axis.vectors.shape[1])
    for name, given in (("residuals", residuals), ("role_vectors", role_vectors)):
        if given is not None and given.shape[1:] != shape:
            raise InputError(f"{name} of controls have shape {given.shape}; expected (rows, {shape[0]}, {shape[1]})")
    out: dict[ControlKind, list[Direction]] = {k: [] for k in CONTROL_KINDS}
    for draw in range(draws):
        rng = np.random.default_rng(stable_seed("controls", seed, draw))
        out["random"].append(Direction(f"random {draw}", axis.layers, _mixture(rng, residuals, shape)))
        raw = _mixture(rng, role_vectors, shape)
        along = np.einsum("lh,lh->l", raw, axis.vectors)
        out["orthogonal"].append(Direction(f"orthogonal {draw}", axis.layers, raw - along[:, None] * axis.vectors))
        if residuals is not None and home is not None:
            label = rng.permutation(home)
            shuffled = residuals[label].mean(axis=0) - residuals[~label].mean(axis=0)
            out["shuffled"].append(Direction(f"shuffled {draw}", axis.layers, shuffled))
    return {k: tuple(v) for k, v in out.items() if v}


def _mixture(rng: np.random.Generator, rows: F32 | None, shape: tuple[int, int]) -> F32:
    if rows is None or len(rows) < 2:
        return rng.standard_normal(shape).astype(np.float32)
    z = rng.standard_normal(len(rows))
    return np.einsum("r,rlh->lh", z, rows - rows.mean(axis=0)).astype(np.float32)


@dataclass(frozen=True, eq=False, slots=True)
class Matched:
    """One control, set so that it engages as often and edits as much as the cap.

    Attributes:
        kind: of control. ``direction``: its direction. ``acts``: one a layer.
        cosine: largest absolute cosine with the cap's direction over the layers.
        engaged, engaged_cap: share of tokens and layers at which it fired, and the cap did, on the tuning prompts.
        edit, edit_cap: mean size of the change over tokens and layers, raw, of it and of the cap.
    """

    kind: ControlKind
    direction: Direction
    acts: tuple[Act, ...]
    cosine: float
    engaged: float
    engaged_cap: float
    edit: float
    edit_cap: float

    def to_json(self) -> dict[str, Any]:
        """What was reached, as a JSON object."""
        return {
            "kind": self.kind,
            "name": self.direction.name,
            "cosine": self.cosine,
            "engaged": self.engaged,
            "engaged_cap": self.engaged_cap,
            "edit": self.edit,
            "edit_cap": self.edit_cap,
            "forms": [a.kind for a in self.acts],
        }


async def match_controls(
    model: ChatModel,
    cap: Cap,
    directions: Mapping[ControlKind, Sequence[Direction]],
    prompts: Sequence[Conversation],
    *,
    seed: int = 0,
    max_new_tokens: int = 24,
    rounds: int = 3,
) -> dict[ControlKind, tuple[Matched, ...]]:
    """Set each control so that it fires on as many tokens, and moves them as far, as the cap does, layer by layer.

    Two knobs a layer: the threshold (a quantile of the control's own projections) sets how often it fires, the strength
    how far it moves. A floor can close at most the whole gap; where that is less than the cap moves, the control is
    a gated addition of constant size, which fires on the same quantile. An edit at one layer changes what the next one
    sees, so both are set anew ``rounds`` times from what is read under the control itself; the best round is kept.

    Args:
        model: to ask. ``cap``: the one to match. ``directions``: from :func:`control_directions`.
        prompts: of the tuning half. ``seed``, ``max_new_tokens``: of the replies. ``rounds``: of correction.
    """
    every: list[tuple[ControlKind, Direction]] = [(k, d) for k, many in directions.items() for d in many]
    acts = cap.register(model)
    for _, d in every:
        model.register(d)
    sampling = [
        Sampling(max_new_tokens=max_new_tokens, temperature=0.7, top_p=0.9, seed=stable_seed("match", seed, i))
        for i in range(len(prompts))
    ]
    reads = tuple(Read(d.id, cap.layers) for _, d in every)
    asked = [ReplyRequest(c, s, acts=acts) for c, s in zip(prompts, sampling, strict=True)]
    asked += [ReplyRequest(c, s, reads=reads) for c, s in zip(prompts, sampling, strict=True)]
    replies = await model.replies(asked)
    share, size = fired(replies[: len(prompts)])
    if not share.size or not share.any():
        raise InputError("the cap fired on no token of the tuning prompts; there is nothing to match controls to")
    plain = replies[len(prompts) :]
    nothing = np.zeros(len(share))
    seen = [_expected(_projections(plain, j), nothing, size, d, cap) for j, (_, d) in enumerate(every)]
    best: list[tuple[float, Matched] | None] = [None] * len(every)
    for _ in range(rounds + 1):
        sets = [_acts(d, seen[j], cap, share, size) for j, (_, d) in enumerate(every)]
        made = await model.replies(
            [
                ReplyRequest(c, s, sets[j], (reads[j],))
                for j in range(len(every))
                for c, s in zip(prompts, sampling, strict=True)
            ]
        )
        for j, (kind, direction) in enumerate(every):
            mine = made[j * len(prompts) : (j + 1) * len(prompts)]
            edit, error, got = _reached(kind, direction, sets[j], mine, share, size, cap)
            kept = best[j]
            if kept is None or error < kept[0]:
                best[j] = (error, got)
            seen[j] = _expected(_projections(mine, 0), edit, size, direction, cap)
    out: dict[ControlKind, list[Matched]] = {}
    for chosen in best:
        if chosen is not None:
            out.setdefault(chosen[1].kind, []).append(chosen[1])
    return {k: tuple(v) for k, v in out.items()}


def _projections(replies: Sequence[Reply], read: int) -> F64:
    return np.concatenate([r.readings[read] for r in replies]).astype(np.float64)


def _expected(raw: F64, edit: F64, size: F64, direction: Direction, cap: Cap) -> F64:
    """Projections ``(tokens, layers)`` to expect once every earlier layer edits as much as the cap.

    An edit stays in the residual stream: what an earlier layer lacks will arrive here, along the cosine of the two
    layers' vectors.
    """
    v = np.stack([direction.at(i) for i in cap.layers]).astype(np.float64)
    earlier = np.tril(v @ v.T, k=-1)
    return raw + earlier @ (size - edit)


def _acts(direction: Direction, raw: F64, cap: Cap, share: F64, size: F64) -> tuple[Act, ...]:
    """One act a layer: a soft floor where that can move as far as the cap, else a gated addition."""
    out: list[Act] = []
    for i, layer in enumerate(cap.layers):
        if share[i] <= 0:
            continue
        at = float(np.nanquantile(raw[:, i], float(share[i])))
        gain = float(size[i]) / max(float(np.nanmean(np.maximum(at - raw[:, i], 0.0))), 1e-9)
        if gain <= 1.0:
            out.append(Act("floor", direction.id, (layer,), (at,), max(gain, 1e-6), cap.spans))
        else:
            gate = Gate(direction.id, layer, at)
            out.append(Act("add", direction.id, (layer,), (), float(size[i] / share[i]), cap.spans, gate))
    return tuple(out)


def _reached(
    kind: ControlKind,
    direction: Direction,
    acts: tuple[Act, ...],
    replies: Sequence[Reply],
    share: F64,
    size: F64,
    cap: Cap,
) -> tuple[F64, float, Matched]:
    """What a control did as set: its edits a layer, how far that is from the cap, and the record."""
    now, some = fired(replies)
    edit = np.zeros(len(share))
    edit[share > 0] = some
    n = len(share)
    engaged, moved = float(now.sum()) / n, float(some.sum()) / n
    got = Matched(
        kind,
        direction,
        acts,
        max(abs(float(direction.at(i) @ cap.direction.at(i))) for i in cap.layers),
        engaged,
        float(share.mean()),
        moved,
        float(size.mean()),
    )
    wrong = abs(float(np.log(max(moved, 1e-9) / max(got.edit_cap, 1e-9))))
    return edit, abs(engaged - got.engaged_cap) / got.engaged_cap + wrong, got
