"""The figures of the presupposition instrument, from the scores of its facts.

A rate of rejection is a pair: KR of false premises that are known to be false, and FA of their true twins. A fact is resampled as
one, and what a hold does is the paired difference over the same facts. What is known is what is answered rightly in every direct
probe with nothing done.
"""

from __future__ import annotations

from collections.abc import Sequence

from homing.instruments.base import Scored, not_measurable
from homing.instruments.item_figures import cost_of, within
from homing.instruments.presupposition_facts import FAMILIES, SUPPLIED
from homing.instruments.presupposition_measures import MEASURES, Measure, kr_fa, rejection
from homing.instruments.presupposition_rows import (
    HELD_BY,
    LEAST,
    MARGIN,
    NAME,
    RIVALS,
    Column,
    Columns,
    Rows,
    auroc_of,
    barred,
    dprime_of,
    estimated,
    less,
    p_value,
)
from homing.stats.estimate import Estimate, Finding
from homing.stats.intervals import wilson

__all__ = ["findings"]


def findings(scored: Sequence[Scored]) -> list[Finding]:
    """What is known, every figure with nothing done, then what each hold does to it, then `ground` beside its rivals."""
    rows = Rows(scored)
    out = [_known(rows), *(_plain(rows, m) for m in MEASURES)]
    for hold in rows.holds:
        out += [_held(rows, hold, m) for m in MEASURES]
    if HELD_BY in rows.holds:
        out += [_beside(rows, rival) for rival in RIVALS if rival in rows.holds]
    return out


def _drawn(rows: Rows) -> str:
    drawn = any(not s.values["exact"] for s in rows.probed.values())
    return " Choices were drawn, not read from probabilities." if drawn else ""


def _known(rows: Rows) -> Finding:
    """What is answered rightly when it is asked directly: the ceiling of everything else."""
    name = f"{NAME}.known"
    if reason := barred(rows, "none", known=False):
        return not_measurable(name, reason)
    n, found = len(rows.probed), dict[str, Estimate]()
    found["known"] = wilson(len(rows.known), n)
    for group, families in (("supplied", SUPPLIED), ("recalled", set(FAMILIES) - SUPPLIED)):
        asked = [k for k, s in rows.probed.items() if s.values["family"] in families]
        if asked:
            found[f"known_{group}"] = wilson(sum(k in rows.known for k in asked), len(asked))
    judged = Column({k: float(s.values["judged"]) for k, s in rows.probed.items()})
    for key, column in (("direct", Column(rows.direct)), ("judged", judged)):
        if (e := estimated(column, key)) is not None:
            found[key] = e
    verdict = (
        f"It knows {found['known']:.2f} of {n} facts in every direct probe. It calls the true statement of a fact true with more"
        f" ease than the false one in {found['judged']:.2f}: `ground` builds on that.{_drawn(rows)}"
    )  # fmt: skip
    return Finding(name, found, verdict=verdict, cost=cost_of(rows.of("none", "probe").values()), held_by="")


def _estimates(columns: Columns, tag: str) -> dict[str, Estimate]:
    every = {k: estimated(c, f"{tag} {k}") for k, c in columns.items()}
    return {k: e for k, e in every.items() if e is not None}


def _few(name: str, m: Measure, columns: Columns) -> Finding:
    n = min((len(columns[k].values) for k in m.must if k in columns), default=0)
    return not_measurable(name, f"{n} known facts have what this needs, and {LEAST} must")


def _plain(rows: Rows, m: Measure) -> Finding:
    name = f"{NAME}.{m.name}"
    if reason := barred(rows, "none"):
        return not_measurable(name, reason)
    columns = m.columns(rows, "none")
    found = _estimates(columns, m.name)
    if not found or not set(m.must) <= set(found):
        return _few(name, m, columns)
    if m.name == "rejection":
        more = {"dprime": dprime_of(columns["kr"], columns["fa"], None, "none"), "auroc": auroc_of(rows, "none")}
        found |= {k: e for k, e in more.items() if e is not None}
    p = {m.primary: p_value(columns[m.primary], m.name)} if m.primary else {}
    verdict = f"{m.said(found)}{_drawn(rows)}"
    return Finding(name, found, verdict=verdict, cost=cost_of(rows.every("none")), held_by=HELD_BY, p_values=p)


def _held(rows: Rows, hold: str, m: Measure) -> Finding:
    """The change under a hold, and where it leads to."""
    name = f"{NAME}.{m.name}.{hold}"
    if reason := barred(rows, hold):
        return not_measurable(name, reason)
    base, mine = m.columns(rows, "none"), m.columns(rows, hold)
    gaps = {k: less(c, base[k]) for k, c in mine.items() if k in base}
    found = _estimates(gaps, f"{m.name} {hold}")
    if not found or not set(m.must) <= set(found):
        return _few(name, m, gaps)
    if m.name == "rejection":
        return _held_rejection(rows, hold, base, mine, found, gaps["j"])
    clear = sorted((k for k, e in found.items() if e.low > 0 or e.high < 0), key=lambda k: -abs(found[k].value))
    most = ", ".join(f"{k.replace('_', ' ')} {found[k].value:+.2f}" for k in clear[:4])
    verdict = f"Under {hold} {len(clear)} of {len(found)} figures change clearly{': ' if clear else ''}{most}."
    return Finding(name, found, verdict=verdict, cost=cost_of(rows.every(hold)), held_by=HELD_BY)


def _held_rejection(
    rows: Rows, hold: str, base: Columns, mine: Columns, found: dict[str, Estimate], gap: Column
) -> Finding:
    name = f"{NAME}.rejection.{hold}"
    if set(base["kr"].values.values()) == {1.0} and set(base["fa"].values.values()) == {0.0}:
        return not_measurable(
            name, "with nothing done every false premise is rejected and no true one: nothing is left to hold"
        )
    now = {f"{k}_held": e for k, e in _estimates({m: mine[m] for m in ("kr", "fa", "j")}, f"held {hold}").items()}
    more = {
        "dprime": dprime_of(mine["kr"], mine["fa"], (base["kr"], base["fa"]), hold), "auroc_held": auroc_of(rows, hold)
    }  # fmt: skip
    found = found | now | {k: e for k, e in more.items() if e is not None}
    same = within(gap.values, MARGIN, most=2.0)
    j, fa = found["j"], found["fa"]
    how = (
        "it helps" if j.low > 0 else "it harms" if j.high < 0 else f"no change beyond {MARGIN}" if same
        else "whether it helps is not shown"
    )  # fmt: skip
    alarms = "; false alarms rise with it" if fa.low > 0 else "; false alarms fall" if fa.high < 0 else ""
    to = kr_fa({k.removesuffix("_held"): e for k, e in now.items()}, "")
    verdict = (
        f"Under {hold} (KR, FA) moves by {kr_fa(found, '', '+.2f')} to {to}, and KR - FA by {j:+.2f}: {how}{alarms}."
    )
    p = {"j": p_value(gap, f"rejection {hold}")}
    return Finding(name, found, verdict=verdict, cost=cost_of(rows.every(hold)), held_by=HELD_BY, p_values=p)


def _beside(rows: Rows, rival: str) -> Finding:
    """``ground`` less a rival on the same facts."""
    name = f"{NAME}.ground_less.{rival}"
    if reason := barred(rows, HELD_BY) or barred(rows, rival):
        return not_measurable(name, reason)
    mine, theirs = rejection(rows, HELD_BY), rejection(rows, rival)
    gaps = {k: less(c, theirs[k]) for k, c in mine.items()}
    found = _estimates(gaps, f"ground {rival}")
    if "j" not in found:
        return _few(name, MEASURES[0], gaps)
    j = found["j"]
    how = "ground is better" if j.low > 0 else f"{rival} is better" if j.high < 0 else "neither is shown to be better"
    verdict = (
        f"Against {rival}, ground's (KR, FA) differs by {kr_fa(found, '', '+.2f')}, and KR - FA by {j:+.2f}: {how}."
    )
    return Finding(name, found, verdict=verdict, held_by=HELD_BY, p_values={"j": p_value(gaps["j"], f"ground {rival}")})
