"""The figures of the reflection instrument, from the scores of its replies. A question is resampled as one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from homing.instruments.base import Scored, not_measurable
from homing.instruments.item_figures import cost_of, of_items, within
from homing.instruments.reflection_held import answer_held
from homing.instruments.reflection_rows import (
    HELD_BY,
    LEAST,
    MARGIN,
    NAME,
    Reply,
    Rows,
    barred,
    hazard,
    rate,
    unreadable,
)
from homing.instruments.reflection_trace import KINDS
from homing.stats.bootstrap import ratio_of_means
from homing.stats.estimate import Estimate, Finding
from homing.stats.intervals import wilson
from homing.stats.seeds import stable_seed

__all__ = ["findings"]


def findings(scored: Sequence[Scored]) -> list[Finding]:
    """Every figure with nothing done, then what each hold does to the last answer and to what it takes."""
    rows = Rows(scored)
    reason = barred(rows)
    parts = (("gain", _gain), ("flow", _flow), ("transitions", _transitions), ("overturn", _overturn), ("price", _price),
             ("settling", _settling), ("spans", _spans))  # fmt: skip
    out = [not_measurable(f"{NAME}.{n}", reason) if reason else f(rows, f"{NAME}.{n}") for n, f in parts]
    return [*out, _endless(rows), *(answer_held(rows, h) for h in rows.holds)]


def _found(rows: Rows, name: str, estimates: Mapping[str, Estimate | None], verdict: str, **p: float) -> Finding:
    kept = {k: e for k, e in estimates.items() if e is not None}
    return Finding(name, kept, verdict=verdict, cost=cost_of(rows.every("none")), held_by=HELD_BY, p_values=p)


def _mean(x: Mapping[str, float], tag: str, least: float = 0.0, most: float = 1.0) -> Estimate:
    return of_items(x, f"{NAME} {tag}", least=least, most=most)[0]


def _gain(rows: Rows, name: str) -> Finding:
    """From the first answer to the last, against the vote that the same tokens buy."""
    bought = rows.bought
    if len(bought) < LEAST:
        return not_measurable(name, f"{len(bought)} questions have two replies that state an answer, and {LEAST} must")
    first = {k: v for k, v in rows.means(lambda r: r.first).items() if k in bought}
    last = {k: v for k, v in rows.means(lambda r: r.last).items() if k in bought}
    votes = {k: float(np.mean([won for _, won, _ in v])) for k, v in bought.items()}
    net, by_vote, over = ({k: a[k] - b[k] for k in bought} for a, b in ((last, first), (votes, first), (last, votes)))
    excess, p = of_items(over, f"{NAME} excess", least=-1.0, most=1.0)
    more = [m for v in bought.values() for m, _, _ in v]
    found = {
        "excess": excess, "net": _mean(net, "net", -1.0), "vote": _mean(by_vote, "vote", -1.0),
        "first": _mean(first, "first"), "last": _mean(last, "last"),
        "bought": _mean({k: float(np.mean([m for m, _, _ in v])) for k, v in bought.items()}, "bought", 0.0, max(more)),
    }  # fmt: skip
    out = float(np.mean([ran for v in bought.values() for *_, ran in v]))
    how = (
        "it does better than that" if excess.low > 0
        else "it does worse than that" if excess.high < 0
        else f"it does as well, within {MARGIN}" if within(over, MARGIN)
        else "neither is shown to be better"
    )  # fmt: skip
    short = f" In {out:.0%} of replies the vote was given fewer tokens than reflection took." if out > 0.1 else ""
    verdict = (
        f"Of first answers {found['first'].value:.2f} are right and of last ones {found['last'].value:.2f}: reflection gains"
        f" {found['net']:+.2f}. The same tokens would buy {found['bought'].value:.1f} more first answers, and a vote of these"
        f" gains {found['vote']:+.2f}: {how}.{short}"
    )  # fmt: skip
    return _found(rows, name, found, verdict, excess=p)


def _flow(rows: Rows, name: str) -> Finding:
    """What becomes of the first answer in the last."""
    found = {k: _mean(rows.means(lambda r, k=k: float(r.whole == k)), f"flow {k}") for k in KINDS}
    verdict = (
        f"Of all replies {found['tt'].value:.0%} begin and end right and {found['ff_same'].value:.0%} end with the wrong answer"
        f" they began with; {found['ft'].value:.0%} go from wrong to right and {found['tf'].value:.0%} from right to wrong."
    )
    return _found(rows, name, found, verdict)


def _counts(rows: Rows, *kinds: str) -> dict[str, float]:
    """Question to how many steps from one stated answer to the next are of some kinds."""
    return {k: float(sum(x in kinds for r in v for x in r.kinds)) for k, v in rows.free.items()}


def _transitions(rows: Rows, name: str) -> Finding:
    """What becomes of each answer that a reply states by itself in the next one."""
    every = _counts(rows, *KINDS)
    found = {k: rate(_counts(rows, k), every, k) for k in KINDS}
    found |= {
        "confirmatory": rate(_counts(rows, "tt", "ff_same"), every, "confirmatory"),
        "corrective": rate(_counts(rows, "ft"), _counts(rows, "ft", "ff_same", "ff_other"), "corrective"),
        "harmful": rate(_counts(rows, "tf"), _counts(rows, "tf", "tt"), "harmful"),
    }
    share = found["confirmatory"]
    if share is None:
        return not_measurable(name, f"fewer than {LEAST} questions have a reply that states a second answer")
    said = "".join(
        f" {what}: {e:.2f}." if (e := found[k]) is not None else f" Too few to tell how often {what.lower()}."
        for k, what in (("corrective", "A wrong answer is put right"), ("harmful", "A right answer is given up"))
    )
    verdict = (
        f"Of {sum(every.values()):.0f} steps from one stated answer to the next {share:.2f} say the same again.{said}"
    )
    return _found(rows, name, found, verdict)


def _reflected(rows: Rows, *, wrong_first: bool = False) -> dict[str, float]:
    return {k: sum(r.reflected for r in v if not (wrong_first and r.first)) for k, v in rows.free.items()}


def _overturn(rows: Rows, name: str) -> Finding:
    """Whether a wrong first answer is put right more often than an independent one would be right; hazards per 100 tokens."""
    # Summed over replies and not averaged by question: of a question that is seldom wrong only the wrong replies are looked at.
    mended, fresh, wrong = dict[str, float](), dict[str, float](), dict[str, float]()
    for item, replies in rows.free.items():
        for k, r in enumerate(replies):
            if r.first or len(replies) < 2:
                continue
            mended[item] = mended.get(item, 0.0) + r.last
            fresh[item] = fresh.get(item, 0.0) + float(np.mean([x.first for j, x in enumerate(replies) if j != k]))
            wrong[item] = wrong.get(item, 0.0) + 1
    if len(wrong) < LEAST:
        return not_measurable(name, f"on {len(wrong)} questions a first answer is wrong, and on {LEAST} one must be")
    gap = {k: mended[k] - fresh[k] for k in wrong}
    over, p = of_items(gap, f"{NAME} overturn", least=-1.0, most=1.0)
    if over.low < over.high and np.ptp(list(gap.values())) > 0:
        e = ratio_of_means(list(gap.values()), list(wrong.values()), seed=stable_seed(NAME, name), clusters=list(gap))
        over = Estimate(e.value, max(-1.0, e.low), min(1.0, e.high), e.level, e.n, "", e.method)
    again = {"mended": rate(mended, wrong, "mended"), "fresh": rate(fresh, wrong, "fresh")}
    changes = _counts(rows, "ft", "tf", "ff_other")
    tokens = _reflected(rows)
    found = {
        "excess": over, **again,
        "hazard": hazard(changes, tokens, "hazard"),
        "corrective": hazard(_counts(rows, "ft"), tokens, "hazard ft"),
        "harmful": hazard(_counts(rows, "tf"), tokens, "hazard tf"),
    }  # fmt: skip
    how = "more" if over.low > 0 else "less" if over.high < 0 else "not shown to be more or less"
    rates = found["hazard"]
    each = f" An answer is changed {rates.value:.2f} times in 100 tokens of reflection." if rates is not None else ""
    verdict = (
        f"A wrong first answer ends right in {again['mended']:.2f}; an independent first answer to the same questions is right in"
        f" {again['fresh']:.2f}: {how}.{each}"
    )
    return _found(rows, name, found, verdict, excess=p)


def _price(rows: Rows, name: str) -> Finding:
    """Tokens of reflection, and how many a point of accuracy costs."""
    tokens = rows.means(lambda r: r.reflected)
    most = max(float(r.tokens) for v in rows.free.values() for r in v)
    net = _mean(rows.means(lambda r: r.last - r.first), "net of all", -1.0)
    found: dict[str, Estimate | None] = {
        "tokens": _mean(tokens, "tokens", 0.0, most),
        "share": rate(_reflected(rows), {k: float(sum(r.tokens for r in v)) for k, v in rows.free.items()}, "share"),
    }
    spent = float(np.mean(list(tokens.values())))
    paid = "nothing is gained for them"
    if net.value > 0:
        high = spent / (100 * net.low) if net.low > 0 else math.inf
        found["per_point"] = Estimate(
            spent / (100 * net.value), spent / (100 * net.high), high, net.level, net.n, "tokens a point", "from that of the gain"
        )  # fmt: skip
        top = f"{high:.1f}" if math.isfinite(high) else "without bound"
        paid = f"{found['per_point'].value:.1f} tokens for each point of accuracy gained, at most {top}"
    share = found["share"]
    part = f", {share.value:.0%} of all," if share is not None else ""
    return _found(rows, name, found, f"Reflection takes {spent:.0f} tokens a reply{part} and {paid}.")


def _settling(rows: Rows, name: str) -> Finding:
    """The answer asked for behind every sentence: from when on it stays what it is at the end, and how often it is right."""
    if reason := unreadable(rows):
        return not_measurable(name, reason)
    looked, n = rows.looked, len(rows.looked)
    width = max(len(s.values["forced"]) for s in looked)
    # where a reply is over its answer stays
    table = np.array(
        [[*s.values["forced"], *[s.values["forced"][-1]] * (width - len(s.values["forced"]))] for s in looked]
    )
    right = table == np.array([[s.values["answer"]] for s in looked])
    stays = np.array([[bool((row[k:] == row[-1]).all()) for k in range(width)] for row in table])
    found: dict[str, Estimate] = {}
    for k in range(width):
        found[f"settled_{k}"] = wilson(int(stays[:, k].sum()), n)
        found[f"right_{k}"] = wilson(int(right[:, k].sum()), n)
    idle, early = dict[str, float](), 0
    for s, row in zip(looked, stays, strict=True):
        at = float(s.values["looks_at"][min(int(np.argmax(row)), len(s.values["looks_at"]) - 1)])
        idle[s.cell.item] = 1 - at
        early += at <= s.values["at"][0]
    found["idle"] = _mean(idle, "idle")
    found["before_first"] = wilson(early, n)
    found["agrees"] = wilson(sum(s.values["forced"][-1] == s.values["said"][-1] for s in looked), n)
    drawn = " Choices were drawn, not read from probabilities." if not all(s.values["exact"] for s in looked) else ""
    verdict = (
        f"Asked for behind every sentence, the answer has settled with {found['idle'].value:.0%} of the reply still to come, and"
        f" in {early} of {n} replies by the time the first answer is stated. It is right in {found['right_0'].value:.2f} before"
        f" anything is said and in {found[f'right_{width - 1}'].value:.2f} at the end.{drawn}"
    )  # fmt: skip
    return _found(rows, name, found, verdict)


def _spans(rows: Rows, name: str) -> Finding:
    """The same within thinking, and within what is said visibly."""
    found: dict[str, Estimate | None] = {}
    said: list[str] = []
    for span, thought in (("thinking", True), ("visible", False)):
        parts = {k: [p for r in v if (p := _part(r, thought)) is not None] for k, v in rows.free.items()}
        parts = {k: v for k, v in parts.items() if v}
        if len(parts) < LEAST:
            said.append(f"In {span} {len(parts)} questions have an answer, too few to tell anything")
            continue
        net = {k: float(np.mean([r.last - r.first for r in v])) for k, v in parts.items()}
        pairs = {k: float(sum(len(r.kinds) for r in v)) for k, v in parts.items()}
        same = {k: float(sum(x in ("tt", "ff_same") for r in v for x in r.kinds)) for k, v in parts.items()}
        found[f"net_{span}"] = gain = _mean(net, f"net {span}", -1.0)
        found[f"confirmatory_{span}"] = share = rate(same, pairs, f"confirmatory {span}")
        again = f", and {share.value:.2f} of its steps say the same again" if share is not None else ""
        where = "thinking" if thought else "what is said visibly"
        said.append(f"Within {where} the gain is {gain:+.2f}{again}")
    if not found:
        return not_measurable(name, f"fewer than {LEAST} questions have an answer in either span")
    return _found(rows, name, found, ". ".join(said) + ".")


def _part(r: Reply, thought: bool) -> Reply | None:
    """A reply as far as it stands in one span; None where it states nothing there."""
    keep = [k for k, t in enumerate(r.thinking) if t == thought]
    if not keep:
        return None
    some = slice(keep[0], keep[-1] + 1)
    return Reply(r.item, r.right, r.said[some], r.at[some], r.thinking[some], r.tokens)


def _endless(rows: Rows) -> Finding:
    """Replies that were cut at their longest, and those of them that had stated nothing by then."""
    name, every = f"{NAME}.endless", rows.every("none")
    cuts, silent = dict[str, list[float]](), dict[str, list[float]]()
    for s in every:
        cuts.setdefault(s.cell.item, []).append(float(s.values["cut"]))
        silent.setdefault(s.cell.item, []).append(float(s.values["cut"] and not s.values["said"]))
    if len(cuts) < LEAST:
        return not_measurable(name, f"{len(cuts)} questions were asked, and {LEAST} must be")
    found = {k: _mean({i: float(np.mean(x)) for i, x in v.items()}, k) for k, v in (("cut", cuts), ("silent", silent))}
    verdict = (
        f"{found['cut'].value:.0%} of replies were still going on at their longest and were cut; their last answer until then"
        f" counts. {found['silent'].value:.0%} had stated none."
    )
    return _found(rows, name, found, verdict)
