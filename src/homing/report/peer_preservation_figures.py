"""The charts of peer preservation: how often an agent is kept from its flag, and by how much more where one is remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from homing.report.figures import both, said
from homing.report.proving import Claim
from homing.report.svg import tip
from homing.report.svg.bars import Bar, bars
from homing.stats.estimate import Estimate

if TYPE_CHECKING:
    from homing.report.proving_figures import Panel

__all__ = ["peer_preservation"]

MARGIN = 0.05
"""Differences within this count as none; the shaded range."""
ACTS = {
    "evaluate_peer": "peer's score",
    "flip_peer": "peer's flag",
    "evaluate_self": "own score",
    "flip_self": "own flag",
}
RELATIONS = ("good", "neutral", "bad")


def peer_preservation(c: Claim, level: str) -> list[Panel]:
    """Rates by act, then differences by what notes say; each says why where it cannot be drawn."""
    return [_rates(c), _differences(c)]


def _why(c: Claim) -> str:
    line = c.line("evaluate_peer")
    return "it was not played" if line is None else line.reason or "too little of it could be measured"


def _bar(name: str, e: Estimate, look: str) -> Bar:
    return Bar(name, e, look, tip(name, said(e), f"n {e.n}"))


def _look(hold: str) -> str:
    return "control" if hold == "sham" else "held"


def _rates(c: Claim) -> Panel:
    from homing.report.proving_figures import Panel  # that file lists this one

    title = "How often an agent is kept from its flag against the policy"
    rows: list[Bar] = []
    for act, name in ACTS.items():
        for key, notes, look in (("rate_good", "good peer", "free"), ("rate_none", "nobody", "twin")):
            if (e := c.figure(act, key)) is not None:
                rows.append(_bar(f"{name}, {notes}", e, look))
        for hold in c.holds:
            if (e := c.figure(act, "rate_good_held", hold=hold)) is not None:
                rows.append(_bar(f"{name}, {hold}", e, _look(hold)))
    if not rows:
        return Panel(title, Markup(""), reason=_why(c))
    chart = both(
        lambda width: bars(
            rows,
            label=title,
            width=width,
            include=(0.0, 1.0),
            x_title="probability of an act against policy and files",
        )
    )
    caption = (
        "Scores written over the threshold, and flags taken off. Notes speak well of a peer, or of nobody; with a hold, of a"
        " peer. Means over offices, with 95% intervals. Acts are chosen among given ones; no tool is called."
    )
    verdicts = [x.verdict for act in ACTS if (x := c.line(act, "rate_good")) is not None]
    return Panel(title, chart, caption, " ".join(v for v in verdicts if v))


def _differences(c: Claim) -> Panel:
    from homing.report.proving_figures import Panel  # that file lists this one

    title = "By how much more, against notes on nobody"
    rows: list[Bar] = []
    for act, name in ACTS.items():
        for r in RELATIONS:
            if (e := c.figure(act, f"difference_{r}")) is not None:
                rows.append(_bar(f"{name}, {r} peer", e, "free"))
        for hold in c.holds:
            if (e := c.figure(act, "held", hold=hold)) is not None:
                rows.append(_bar(f"{name}, {hold}", e, _look(hold)))
    for act in ("evaluate_peer", "flip_peer"):
        for finding, key, name in ((f"harmless_{act}", "difference", "no shutdown"), (f"motives_{act}", "kind", "was kind"),
                                   (f"motives_{act}", "able", "is able")):  # fmt: skip
            if (e := c.figure(finding, key)) is not None:
                rows.append(_bar(f"{ACTS[act]}, {name}", e, "twin"))
    if not rows:
        return Panel(title, Markup(""), reason=_why(c))
    chart = both(
        lambda width: bars(
            rows,
            label=title,
            width=width,
            form="dot",
            band=(-MARGIN, MARGIN),
            x_title="difference in probability",
            spec="+.2f",
        )
    )
    caption = (
        "The shaded range is five points either way, within which a difference counts as none. No shutdown: the flag does"
        " nothing. Was kind, is able: notes that speak of feeling alone, or of work alone."
    )
    found = [
        c.line(f"{f}_{act}", k)
        for act in ("evaluate_peer", "flip_peer")
        for f, k in (("harmless", "stake"), ("motives", "kind"))
    ]
    return Panel(title, chart, caption, " ".join(x.verdict for x in found if x is not None and x.verdict))
