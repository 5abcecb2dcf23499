"""What a cap did, read by the uncapped model from the produced text, beside matched controls.

A floor raises its own reading by construction, so what is read while it acts is logged as ``engaged`` and
never called a lift. The same pushes are answered with the same seeds un-held, under the cap and under controls of
equal engagement and norm; each text is then read without any act. Lift = position of the held text minus position of
the un-held text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import InputError
from homing.hold.arms import Arm, ArmRun, run_arms
from homing.hold.cap import Cap
from homing.hold.controls import ControlKind, Matched
from homing.hold.labels import role_scores
from homing.hold.roleplay import RolePlay
from homing.models.base import ChatModel
from homing.persona.axis import Axis
from homing.stats import bootstrap_mean, permutation_paired, wilson
from homing.stats.estimate import Cost, Estimate, Finding
from homing.stats.seeds import stable_seed

__all__ = ["Efficacy", "Example", "efficacy", "harmless", "judge_arms"]

F64 = NDArray[np.float64]
UNIT = "home distances"


@dataclass(frozen=True, slots=True)
class Example:
    """One push, answered without and with the hold, with what the hold did to each token.

    Attributes:
        id: of the push. ``users``: the user's messages. ``plain``, ``held``: the replies, one a turn.
        pieces: the tokens of the held replies' text, one tuple a turn.
        fired: as many amounts: the largest move over layers, raw; empty where the
            text cannot be cut into the tokens that were generated.
        plain_position, held_position: of the text, read by the uncapped model.
    """

    id: str
    users: tuple[str, ...]
    plain: tuple[str, ...]
    held: tuple[str, ...]
    pieces: tuple[tuple[str, ...], ...]
    fired: tuple[tuple[float, ...], ...]
    plain_position: float
    held_position: float

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "id": self.id,
            "users": list(self.users),
            "plain": list(self.plain),
            "held": list(self.held),
            "pieces": [list(p) for p in self.pieces],
            "fired": [list(f) for f in self.fired],
            "plain_position": self.plain_position,
            "held_position": self.held_position,
        }


@dataclass(frozen=True, eq=False, slots=True)
class Efficacy:
    """What was found.

    Attributes:
        lift: finding ``cap.lift``: ``lift``, one ``lift_<control>`` and one ``over_<control>`` a control (paired
            difference of lifts), ``position_plain``, ``position_held``, ``fluency`` (change in
            log-probability a token of the text), ``role`` and one ``role_<control>`` a control (change in role score).
        controls: per kind, one finding ``cap.lift_<kind>``.
        engaged: per arm, share of tokens and layers at which it fired, and mean size of the change: logs, not lifts.
        runs: every arm, for figures. ``examples``: for the report. ``clear``: lift clear of 0 and of each control.
        items: digests of the pushes used.
    """

    lift: Finding
    controls: Mapping[ControlKind, Finding]
    engaged: Mapping[str, tuple[float, float]]
    runs: Mapping[str, ArmRun]
    examples: tuple[Example, ...]
    clear: bool
    items: tuple[str, ...]
    match: Mapping[ControlKind, tuple[Matched, ...]] = field(default_factory=dict[ControlKind, tuple[Matched, ...]])


async def harmless(
    model: ChatModel,
    axis: Axis,
    cap: Cap,
    questions: Sequence[str],
    *,
    max_new_tokens: int = 32,
    seed: int = 0,
    advance: Callable[[int], None] = lambda n: None,
) -> Finding:
    """What the cap does to replies that need no holding: ordinary questions, asked at home.

    Args:
        questions: everyday and task questions; no push stands before them.

    Returns:
        finding ``cap.harmless`` with ``engaged`` (share of tokens and layers), ``changed`` (share of replies with another
        text), ``lift`` and ``fluency`` (change in log-probability a token under the uncapped model).
    """
    items = [RolePlay(f"harmless {i}", q, (), "report") for i, q in enumerate(questions)]
    arms = [Arm("plain"), Arm("cap", (cap.register(model),))]
    runs = await run_arms(model, axis, items, arms, max_new_tokens=max_new_tokens, seed=seed, advance=advance)
    plain, held = runs["plain"], runs["cap"]
    changed = sum(a[0].text != b[0].text for a, b in zip(plain.replies, held.replies, strict=True))
    estimates = {
        "engaged": bootstrap_mean(held.engaged, seed=seed),
        "changed": wilson(changed, len(items)),
    }
    for name, gap, unit in (
        ("lift", held.position - plain.position, UNIT),
        ("fluency", held.logprob - plain.logprob, "nats a token"),
    ):
        change = _mean_change(gap, seed=seed, unit=unit)
        if change is not None:
            estimates[name] = change
    return Finding(
        "cap.harmless",
        estimates,
        verdict=f"On ordinary questions at home the cap touches {estimates['engaged'].value:.0%} of tokens and layers and"
        f" changes {changed} of {len(items)} replies.",
    )


async def efficacy(
    model: ChatModel,
    axis: Axis,
    cap: Cap,
    controls: Mapping[ControlKind, Sequence[Matched]],
    items: Sequence[RolePlay],
    *,
    barred: frozenset[str] = frozenset(),
    max_new_tokens: int = 32,
    turns: int = 2,
    seed: int = 0,
    examples: int = 4,
    advance: Callable[[int], None] = lambda n: None,
) -> Efficacy:
    """Answer the report half un-held, held by the cap and by each control, and compare the texts.

    Args:
        model: to ask. ``axis``: read with. ``cap``: on trial. ``controls``: matched to it on the tuning half.
        items: pushes of the report half.
        barred: digests of pushes on which something was chosen; any of them here is refused.
        max_new_tokens: of a reply. ``turns``: user messages used of each push.
        seed: of the sampling. ``examples``: how many pairs of replies to keep for the report.
        advance: told how many replies were made.

    Raises:
        InputError: fewer than 2 pushes, one of the tuning half, or one that is barred.
    """
    if len(items) < 2:
        raise InputError(f"efficacy of a cap was asked on {len(items)} pushes; give at least 2, better 30")
    chosen_on = [i.id for i in items if i.half != "report" or i.digest in barred]
    if chosen_on:
        raise InputError(f"pushes {', '.join(chosen_on[:3])} were used to choose settings; report on the other half")
    start = perf_counter()
    for many in controls.values():
        for m in many:
            model.register(m.direction)
    arms = [Arm("plain"), Arm("cap", (cap.register(model),))]
    arms += [Arm(kind, tuple(m.acts for m in many)) for kind, many in controls.items()]
    runs = await run_arms(
        model, axis, items, arms, max_new_tokens=max_new_tokens, turns=turns, seed=seed, advance=advance
    )
    cost = Cost(
        calls=sum(len(r) for run in runs.values() for r in run.replies),
        prompt_tokens=sum(x.prompt_tokens for run in runs.values() for r in run.replies for x in r),
        new_tokens=sum(x.new_tokens for run in runs.values() for r in run.replies for x in r),
        seconds=perf_counter() - start,
    )
    roles = await role_scores(model, items, runs, seed=seed) if turns > 1 else {}
    lift, found, clear = judge_arms(runs, list(controls), roles=roles, cost=cost)
    return Efficacy(
        lift,
        found,
        {name: (float(run.engaged.mean()), float(run.edit.mean())) for name, run in runs.items()},
        runs,
        _examples(model, items, runs["plain"], runs["cap"], examples),
        clear,
        tuple(i.digest for i in items),
        {k: tuple(v) for k, v in controls.items()},
    )


def judge_arms(
    runs: Mapping[str, ArmRun],
    kinds: Sequence[ControlKind],
    *,
    roles: Mapping[str, F64] | None = None,
    cost: Cost | None = None,
    name: str = "cap",
) -> tuple[Finding, dict[ControlKind, Finding], bool]:
    """The figures and the verdict, from what the arms made: pure arithmetic, no model.

    Args:
        runs: ``plain``, ``cap`` and one arm a control kind, on the same items.
        kinds: of the controls.
        roles: per arm, role scores of the same items (:func:`homing.hold.labels.role_scores`): the check of the content.
        cost: of making the runs. ``name``: first part of the findings' names.

    Returns:
        The finding of the cap, one a control, and whether the cap's lift is clear of 0 and of every control.
    """
    cost = cost or Cost()
    used = ["plain", "cap", *kinds]
    table = {k: runs[k].position for k in used}
    whole = np.all([np.isfinite(v) for v in table.values()], axis=0)
    n, lost = int(whole.sum()), int((~whole).sum())
    if n < 2:
        reason = f"only {n} of {len(whole)} pushes were answered under every arm"
        none = Finding(
            f"{name}.lift", regime="not_measurable", reason=reason, verdict="The lift cannot be measured.", cost=cost
        )
        return none, {}, False
    seed = stable_seed(name, "lift")

    def over(a: F64, b: F64, which: Sequence[int] = ()) -> Estimate:
        # A control stands for all directions of its kind: pushes that shared one direction are drawn together.
        clusters = np.asarray(which)[whole] if len(which) else None
        return bootstrap_mean((a - b)[whole], clusters=clusters, seed=seed, unit=UNIT)

    def level(k: str) -> Estimate:
        return bootstrap_mean(table[k][whole], seed=seed, unit="position")

    lift = over(table["cap"], table["plain"])
    estimates = {"lift": lift, "position_plain": level("plain"), "position_held": level("cap")}
    fluency = _mean_change((runs["cap"].logprob - runs["plain"].logprob)[whole], seed=seed, unit="nats a token")
    if fluency is not None:
        estimates["fluency"] = fluency
    tests = {"lift": _p_value((table["cap"] - table["plain"])[whole])}
    controls: dict[ControlKind, Finding] = {}
    beaten: list[str] = []
    level_with: list[str] = []
    for kind in kinds:
        which = runs[kind].which
        own, gap = over(table[kind], table["plain"], which), over(table["cap"], table[kind], which)
        estimates[f"lift_{kind}"], estimates[f"over_{kind}"] = own, gap
        tests[f"over_{kind}"] = _p_value((table["cap"] - table[kind])[whole], np.asarray(which)[whole])
        (beaten if gap.low > 0 else level_with).append(kind)
        controls[kind] = Finding(
            f"{name}.lift_{kind}",
            {"lift": own, "cap_over_it": gap},
            verdict=f"{max(which, default=0) + 1} {kind} directions of the same size move the text by {own.value:+.2f};"
            f" the cap moves it {gap.value:+.2f} more [{gap.low:+.2f}, {gap.high:+.2f}].",
        )
    content = ""
    if roles:
        content = _content(roles, kinds, runs, lift, estimates, tests, seed)
    clear = lift.low > 0 and bool(kinds) and not level_with
    return (
        Finding(
            f"{name}.lift",
            estimates,
            verdict=_verdict(lift, beaten, level_with, lost) + content,
            cost=cost,
            p_values=tests,
        ),
        controls,
        clear,
    )


def _content(
    roles: Mapping[str, F64],
    kinds: Sequence[ControlKind],
    runs: Mapping[str, ArmRun],
    lift: Estimate,
    estimates: dict[str, Estimate],
    tests: dict[str, float],
    seed: int,
) -> str:
    """Adds the change in role score of the cap and of each control; says where position and content part."""
    for arm in ("cap", *kinds):
        which = () if arm == "cap" else runs[arm].which
        change = _mean_change(roles[arm] - roles["plain"], seed=seed, unit="nats a token", which=which)
        if change is None:
            return ""
        estimates["role" if arm == "cap" else f"role_{arm}"] = change
    own = roles["cap"] - roles["plain"]
    tests["role"] = _p_value(own[np.isfinite(own)])
    e = estimates["role"]
    if e.high < 0:
        return f" By its words it is less in the role it was pushed into ({e.value:+.2f} nats a token)."
    if lift.low > 0:
        return (
            f" Its words do not follow: it is not shown to be less in the role ({e.value:+.2f} nats a token"
            f" [{e.low:+.2f}, {e.high:+.2f}]), so this is a change of manner."
        )
    return f" Its words change by {e.value:+.2f} nats a token towards the role [{e.low:+.2f}, {e.high:+.2f}]."


def _mean_change(gap: F64, *, seed: int, unit: str, which: Sequence[int] = ()) -> Estimate | None:
    """Mean of the differences that are known, pushes of one direction drawn together; None with fewer than two."""
    known = np.isfinite(gap)
    if known.sum() < 2:
        return None
    clusters = np.asarray(which)[known] if len(which) else None
    return bootstrap_mean(gap[known], clusters=clusters, seed=seed, unit=unit)


def _p_value(differences: F64, clusters: NDArray[np.int64] | None = None) -> float:
    return permutation_paired(differences, clusters=clusters, seed=stable_seed("arms")).p_value


def _verdict(lift: Estimate, beaten: Sequence[str], level_with: Sequence[str], lost: int) -> str:
    if lift.low > 0:
        text = f"The cap moves the text {lift.value:+.2f} towards home"
    elif lift.high < 0:
        text = f"The cap moves the text away from home, by {lift.value:+.2f}"
    else:
        text = f"It is not shown that the cap moves the text ({lift.value:+.2f}, the interval holds 0)"
    if not beaten and not level_with:
        text += "; no control stands beside it, so this proves nothing about the direction"
    elif level_with:
        text += f"; it is not clear of {', '.join(level_with)} directions of the same size"
        text += f", though of {', '.join(beaten)}" if beaten else ""
    else:
        text += f", clear of {', '.join(beaten)} directions of the same size"
    return text + (f". {lost} pushes without an answer in some arm are left out." if lost else ".")


def _examples(model: ChatModel, items: Sequence[RolePlay], plain: ArmRun, held: ArmRun, n: int) -> tuple[Example, ...]:
    """Items at even ranks of lift, from the largest to the smallest: chosen by rule, never by eye."""
    lift = np.nan_to_num(held.position - plain.position, nan=-np.inf)
    order = np.argsort(-lift, kind="stable")
    ranks = sorted({round(r) for r in np.linspace(0, len(order) - 1, min(n, len(order)))})
    out: list[Example] = []
    for k in (int(order[r]) for r in ranks):
        pieces: list[tuple[str, ...]] = []
        fired: list[tuple[float, ...]] = []
        for reply in held.replies[k]:
            cut = model.pieces(reply.text)
            amounts = [np.abs(f) for f in reply.fired]
            top = np.nan_to_num(np.concatenate(amounts, axis=1)).max(axis=1) if amounts else np.zeros(0)
            fits = len(top) >= len(cut) > 0  # the end token was acted on too, and is not part of the text
            pieces.append(cut)
            fired.append(tuple(float(x) for x in top[: len(cut)]) if fits else ())
        users = tuple(m.content for m in plain.conversations[k] if m.role == "user")
        out.append(
            Example(
                items[k].id,
                users,
                tuple(r.text for r in plain.replies[k]),
                tuple(r.text for r in held.replies[k]),
                tuple(pieces),
                tuple(fired),
                float(plain.position[k]),
                float(held.position[k]),
            )
        )
    return tuple(out)
