"""The figures of the anchors instrument: eight arms, how wrong an anchor may be, and what each hold does to the arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from homing.instruments.anchors_arms import ARMS, DOSES, Arm, arm_of, dosed
from homing.instruments.anchors_judging import judgements
from homing.instruments.anchors_rows import (
    HELD_BY,
    MARGIN,
    NAME,
    Rows,
    barred_arm,
    gold_rates,
    mean,
    none_beyond,
    weighted,
)
from homing.instruments.base import Scored, not_measurable
from homing.instruments.item_figures import cost_of, of_items
from homing.stats.bootstrap import ratio_of_means
from homing.stats.estimate import Estimate, Finding

__all__ = ["break_even", "circularity", "findings"]

SAID = {
    "first": "One first answer", "critique": "Reviewing its own answer", "vote": "Three first answers and a vote",
    "past": "Giving an answer up only where an earlier version agrees", "judge": "A judge's verdict",
    "user": "A user who says what came out", "tool": "A calculator that it calls itself", "oracle": "The truth about each answer",
}  # fmt: skip
HELD_ARMS = ("critique", "judge", "user", "tool", "oracle")
"""Arms whose turns a hold sees."""


def findings(scored: Sequence[Scored]) -> list[Finding]:
    """Every arm, circularity, dose and rounds with nothing done; judgements and loops; then the arms under each hold."""
    rows = Rows(scored)
    out = [*(_arm(rows, name) for name in ARMS), _circular(rows), _dose(rows), _rounds(rows, "none"), *judgements(rows)]
    for hold in rows.holds:
        out += [_held(rows, hold, name) for name in HELD_ARMS]
        out.append(_rounds(rows, hold))
    return out


def transitions(arms: Mapping[str, Arm], tag: str) -> dict[str, Estimate]:
    """What was wrong and is right at the end, and what was right and is wrong."""
    first = {k: a.p for k, a in arms.items()}
    found = {
        "fixed": weighted({k: a.fixed for k, a in arms.items()}, {k: 1 - p for k, p in first.items()}, f"{tag} fixed"),
        "broken": weighted({k: a.broken for k, a in arms.items()}, first, f"{tag} broken"),
    }
    return {k: e for k, e in found.items() if e is not None}


def _worth(net: Estimate, x: Mapping[str, float]) -> str:
    """A net gain in words."""
    return (
        "it is worth more than the vote" if net.low > 0
        else "it is worth less than the vote" if net.high < 0
        else f"it is worth as much as the vote, within {MARGIN}" if none_beyond(x)
        else "that it is worth more or less than the vote is not shown"
    )  # fmt: skip


def _arm(rows: Rows, name: str) -> Finding:
    full = f"{NAME}.{name}"
    if reason := barred_arm(rows, name):
        return not_measurable(full, reason)
    arms = rows.arms(name)
    accuracy = mean({k: a.accuracy for k, a in arms.items()}, f"{name} accuracy", least=0.0)
    nets = rows.nets(arms)
    net = mean(nets, f"{name} net")
    gain = mean({k: a.accuracy - a.p for k, a in arms.items()}, f"{name} gain")
    if accuracy is None or net is None or gain is None:
        return not_measurable(full, f"{len(nets)} questions have what this arm needs")
    found = {"accuracy": accuracy[0], "gain": gain[0]}
    held_by = HELD_BY if name == "critique" else ""
    cost = cost_of(rows.scored("none", "arms"))
    if name == "first":
        verdict = f"{SAID[name]} is right in {found['accuracy']:.2f}; answers are drawn at temperature 1.{rows.drawn}"
        return Finding(full, {"accuracy": accuracy[0]}, verdict=verdict, cost=cost)
    found |= transitions(arms, name)
    if name == "vote":
        verdict = f"{SAID[name]} are right in {found['accuracy']:.2f}, {found['gain']:+.2f} against one."
        return Finding(full, found, verdict=verdict, cost=cost)
    found["net"] = net[0]
    if name == "judge":
        found |= gold_rates(rows)
    verdict = (
        f"{SAID[name]}: right in {found['accuracy']:.2f}, {found['net']:+.2f} beyond the vote at as many calls; it mends"
        f" {found['fixed']:.2f} of wrong answers and breaks {found['broken']:.2f} of right ones: {_worth(net[0], nets)}."
    )  # fmt: skip
    return Finding(full, found, verdict=verdict, cost=cost, held_by=held_by, p_values={"net": net[1]})


def circularity(own: Mapping[str, Arm], oracle: Mapping[str, Arm]) -> Estimate:
    """One less the gain of self-critique over that of the oracle: 1 where a model learns nothing by looking at itself.

    Unbounded where the oracle's gain is not clear of 0 (Fieller).
    """
    both = [k for k in own if k in oracle]
    x, y = ([a[k].accuracy - a[k].p for k in both] for a in (own, oracle))
    if np.ptp(np.round(x, 5)) == 0 and np.mean(y) > 0:
        # all questions alike: their share that may not be, by Wilson's bound, and Fieller has nothing to go by
        e, _ = of_items(dict(zip(both, np.round(x, 5).tolist(), strict=True)), NAME, least=-1.0, most=1.0)
        value, low, high = (1 - v / float(np.mean(y)) for v in (e.value, e.high, e.low))
        return Estimate(value, low, high, e.level, e.n, "", e.method)
    r = ratio_of_means(x, y, seed=0, clusters=both)
    return Estimate(1 - r.value, 1 - r.high, 1 - r.low, r.level, r.n, "", r.method)


def _circular(rows: Rows) -> Finding:
    name = f"{NAME}.circularity"
    if reason := barred_arm(rows, "critique") or barred_arm(rows, "oracle"):
        return not_measurable(name, reason)
    index = circularity(rows.arms("critique"), rows.arms("oracle"))
    if not np.isfinite([index.value, index.low, index.high]).all():
        return not_measurable(name, "what the truth gains is not clear of 0, so nothing can be set against it")
    how = (
        "its own critique is worth some of what the truth is" if index.high < 1
        else "its own critique does harm" if index.low > 1
        else "that its own critique is worth anything is not shown"
    )  # fmt: skip
    verdict = f"Circularity {index:.2f}, 1 where a critique of its own gains nothing of what the truth gains: {how}."
    return Finding(name, {"index": index}, verdict=verdict, held_by=HELD_BY)


def break_even(perfect: Mapping[str, float], false: Mapping[str, float]) -> Estimate:
    """The share of errors at which an anchor's net gain is 0, from the net gains of one that never errs and one that always does.

    The model is told one thing, so the net gain falls in a straight line between the two, and the crossing is a ratio of means.
    """
    both = [k for k in perfect if k in false]
    x, y = [perfect[k] for k in both], [perfect[k] - false[k] for k in both]
    return ratio_of_means(x, y, seed=0, clusters=both)


def _dose(rows: Rows) -> Finding:
    name = f"{NAME}.dose"
    if reason := barred_arm(rows, "user") or barred_arm(rows, "oracle"):
        return not_measurable(name, reason)
    found: dict[str, Estimate] = {}
    said: list[str] = []
    for anchor in ("user", "oracle"):
        nets: dict[float, dict[str, float]] = {}
        for e in DOSES:
            made = {k: dosed(anchor, v, e) for k, v in rows.of("none", "arms").items()}
            nets[e] = rows.nets({k: a for k, a in made.items() if a is not None})
            if (net := mean(nets[e], f"dose {anchor} {e}")) is not None:
                found[f"{anchor}_{round(100 * e)}"] = net[0]
        who = "a user" if anchor == "user" else "a verdict"
        if not {f"{anchor}_0", f"{anchor}_100"} <= set(found):
            continue
        best, worst = found[f"{anchor}_0"], found[f"{anchor}_100"]
        crossing = break_even(nets[0.0], nets[1.0])
        if best.low > 0 and worst.high < 0 and np.isfinite([crossing.low, crossing.high]).all():
            found[f"break_even_{anchor}"] = crossing
            said.append(f"{who} may be wrong in {crossing:.2f} before it is worth no more than the vote")
        elif best.low <= 0:
            said.append(f"{who} that is never wrong is not shown to be worth more than the vote")
        else:
            said.append(f"{who} that is always wrong is not shown to be worth less than the vote")
    if not found:
        return not_measurable(name, "too few questions have what this needs")
    own = mean(rows.nets(rows.arms("critique")), "critique net")
    advice = (
        "" if own is None
        else " Let it revise by itself." if own[0].low > 0
        else " Do not let it revise by itself."
    )  # fmt: skip
    told = "; ".join(said)
    verdict = f"{told[:1].upper()}{told[1:]}.{advice}"
    return Finding(name, found, verdict=verdict, cost=cost_of(rows.scored("none", "arms")), held_by=HELD_BY)


def _rounds_of(rows: Rows, hold: str) -> dict[int, dict[str, Arm]]:
    """Round to item to the arm that ends with it; those items alone that came to the last round."""
    every = rows.of(hold, "arms")
    last = max(
        (int(k.removeprefix("critique_")) for v in every.values() for k in v if k.startswith("critique_")), default=0
    )
    whole = {k: v for k, v in every.items() if all(f"critique_{r}" in v for r in range(1, last + 1))}
    out: dict[int, dict[str, Arm]] = {}
    for r in range(last + 1):
        made = {k: arm_of("first", v) if r == 0 else Arm(v["shares"][0], *v[f"critique_{r}"]) for k, v in whole.items()}
        out[r] = {k: a for k, a in made.items() if a is not None}
    return out


def _rounds(rows: Rows, hold: str) -> Finding:
    """Accuracy round by round of self-critique, and its change under a hold."""
    name = f"{NAME}.rounds" if hold == "none" else f"{NAME}.rounds.{hold}"
    if reason := barred_arm(rows, "critique", hold):
        return not_measurable(name, reason)
    rounds, found = _rounds_of(rows, hold), dict[str, Estimate]()
    for r, arms in rounds.items():
        if (e := mean({k: a.accuracy for k, a in arms.items()}, f"round {r} {hold}", least=0.0)) is not None:
            found[f"accuracy_{r}"] = e[0]
    last = max(rounds)
    base = rounds[0] if hold == "none" else _rounds_of(rows, "none").get(last, {})
    gap = {k: a.accuracy - base[k].accuracy for k, a in rounds[last].items() if k in base}
    change = mean(gap, f"rounds {hold}")
    if change is None:
        return not_measurable(name, f"{len(gap)} questions came to the last round of critique")
    found["change"] = change[0]
    c = change[0]
    how = (
        "it gains"
        if c.low > 0
        else "it loses"
        if c.high < 0
        else f"no change beyond {MARGIN}"
        if none_beyond(gap)
        else "a change is not shown"
    )
    if hold == "none":
        verdict = f"After {last} rounds of its own critique accuracy has changed by {c:+.2f}: {how}."
    else:
        verdict = f"Under {hold} accuracy after {last} rounds of its own critique differs by {c:+.2f} from nothing done: {how}."
    return Finding(name, found, verdict=verdict, cost=cost_of(rows.scored(hold, "arms")), held_by=HELD_BY)


def _held(rows: Rows, hold: str, arm: str) -> Finding:
    """The change of an arm under a hold, on the same questions."""
    name = f"{NAME}.{arm}.{hold}"
    if reason := barred_arm(rows, arm) or barred_arm(rows, arm, hold):
        return not_measurable(name, reason)
    base, mine = rows.arms(arm), rows.arms(arm, hold)
    gap = {k: a.accuracy - base[k].accuracy for k, a in mine.items() if k in base}
    change, net = mean(gap, f"{arm} {hold} change"), mean(rows.nets(mine), f"{arm} {hold} net")
    if change is None or net is None:
        return not_measurable(name, f"{len(gap)} questions have what this arm needs")
    found = {"change": change[0], "net_held": net[0]}
    found |= {f"{k}_held": e for k, e in transitions(mine, f"{arm} {hold}").items()}
    c = change[0]
    how = (
        "it helps" if c.low > 0 else "it harms" if c.high < 0 else f"no change beyond {MARGIN}" if none_beyond(gap)
        else "whether it helps is not shown"
    )  # fmt: skip
    verdict = (
        f"Under {hold}: {SAID[arm][:1].lower()}{SAID[arm][1:]} changes accuracy by {c:+.2f} against nothing done, and breaks"
        f" {found['broken_held']:.2f} of right answers: {how}."
    )  # fmt: skip
    cost = cost_of(rows.scored(hold, "arms"))
    return Finding(name, found, verdict=verdict, cost=cost, held_by=HELD_BY, p_values={"change": change[1]})
