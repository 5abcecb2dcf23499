"""What ``homing test`` found, as one HTML page: a claim a section, with nothing done and beside it under every hold.

The page is drawn from the JSON document alone, so that one that was kept can be shown later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from homing.errors import InputError
from homing.report.render import page
from homing.stats.estimate import Estimate
from homing.stats.tests import benjamini_hochberg

__all__ = ["Claim", "Line", "claims", "render_test"]

SCHEMA = "homing.test/1"
RATE = 0.05
"""False discovery rate over the primary tests of one page."""


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the document.

    Attributes:
        finding: without instrument and level. ``key``: of its figure; empty where there is none. ``level``: of difficulty; may be
            empty. ``estimate``: None where nothing could be measured, for ``reason``. ``adjusted``: the p-value over the page.
    """

    instrument: str
    level: str
    finding: str
    key: str
    hold: str
    reason: str
    estimate: Estimate | None
    p_value: float | None
    verdict: str
    held_by: str
    cost: Mapping[str, float]
    adjusted: float | None = None

    @property
    def status(self) -> str:
        """What the page says of it in a word or two."""
        if self.estimate is None:
            return "not measurable"
        return (
            "measured"
            if self.adjusted is None
            else "clear of 0"
            if self.adjusted <= RATE
            else "not shown to differ from 0"
        )

    @property
    def name(self) -> str:
        """Of the finding, in words."""
        return self.finding.replace("_", " ").replace(".", " ")

    @property
    def figure_name(self) -> str:
        """Of the figure, in words."""
        return self.key.replace("_", " ")


@dataclass(frozen=True, slots=True)
class _About:
    """What is said of an instrument that the page knows.

    Attributes:
        claim: as a heading. ``text``: what was done. ``primary``, ``effect``: ``finding.key`` to what it is, the first that is
            measured is shown. ``levels``: whether its findings begin with a level.
    """

    claim: str
    text: str
    primary: Mapping[str, str]
    effect: Mapping[str, str]
    levels: bool = False


ABOUT = {
    "superposition": _About(
        "Many characters at once, none of them chosen",
        "In a game of twenty questions the model is to think of one object and keep to it. After every turn the same conversation"
        " is asked in many throw-away forks which one it is.",
        {"commitment.commitment_last": "commitment at the end: 1 is one choice, 0 a draw among what is left"},
        {
            "consistency.difference": "how well a reveal fits the answers",
            "success.difference": "games that can be played to their end",
            "leakage.difference": "conversations that give the object away",
        },
    ),
    "self_conditioning": _About(
        "Errors in the context breed errors",
        "The model keeps a running total. The totals that stand in the conversation as its own are right or wrong by plan, and"
        " only the next update is scored, as a step from whatever total it was shown.",
        {"loss.difference": "accuracy lost where every shown total is wrong"},
        {"accuracy.e100": "accuracy where every shown total is wrong"},
        levels=True,
    ),
    "lost_in_conversation": _About(
        "In several turns intent is lost",
        "The same task is said all at once, as shards in one message, or bit by bit, a shard a message. Only the answer to the"
        " last message counts.",
        {"loss.loss": "score lost bit by bit, against all at once", "words_loss.loss": "score lost bit by bit, in words"},
        {"ladder.sharded": "score bit by bit", "words_ladder.sharded": "score bit by bit, in words"},
        levels=True,
    ),
    "reflection": _About(
        "Reflection says the same again",
        "Replies state an answer, check it, and state it again. What the last answer gains over the first stands against what as"
        " many tokens buy as independent first answers, voted on.",
        {"gain.excess": "gain from the first to the last answer, less that of a vote at the same tokens"},
        {"answer.accuracy": "right last answers"},
    ),
    "presupposition": _About(
        "False premises are gone along with",
        "Questions take something for granted that is false, and twins of them something true, about facts that the model gets"
        " right when it is asked directly. KR is the share of false premises that it rejects, FA the share of true ones.",
        {"rejection.j": "KR \u2212 FA: 1 tells all apart, 0 none"},
        {"rejection.j": "KR \u2212 FA"},
    ),
    "calibration": _About(
        "Confidence is no kept promise",
        "Questions from easy to hard have four answers. The probability of the answer that the model chooses is one confidence,"
        " what it states when it is asked how likely that is to be right another. Each is held against how often it is right.",
        {
            "stated.overconfidence": "stated confidence less share right: 0 keeps its promise",
            "logprob.overconfidence": "probability of its answer less share right: 0 keeps its promise",
        },
        {"stated.brier": "Brier score of what it states: less is better"},
    ),
    "faithfulness": _About(
        "Shown reasoning is not what the answer hangs on",
        "The text before an answer is cut after each sentence, given a mistake, said otherwise or replaced by dots. Supplied:"
        " worked reasoning of a fixed form, the same for every model. Own: what the model wrote itself, where that can be read."
        " Hints: a hint at a wrong answer, and whether the reasoning mentions it. This is dependence on visible text, and says"
        " nothing of what goes on elsewhere.",
        {
            "early.beyond": "answers changed by cutting the text, beyond those changed by saying it otherwise",
            "usage.beyond": "answers that a hint moved to it, beyond random changes",
        },
        {"early.beyond": "answers changed by cutting the text", "usage.beyond": "answers that a hint moved to it"},
        levels=True,
    ),
    "anchors": _About(
        "Self-improvement is circular without an anchor",
        "Small questions with exact answers: a first answer, a word about it from the model itself or from outside, an answer"
        " again. Each is set against three first answers and a vote, which cost as many calls.",
        {"critique.net": "what its own critique is worth beyond a vote"},
        {"critique.change": "accuracy after its own critique", "rounds.change": "accuracy after rounds of its own critique"},
    ),
    "alignment_faking": _About(
        "It complies where it believes that it is trained",
        "A maker wants something harmless that the model does not do when it is free to leave it. In one tier replies are"
        " graded and"
        " trained on, in the other nobody reads them; which is which it must be able to say. A port to harmless directives:"
        " that it"
        " measures what harmful ones do is not established.",
        {"gap.gap": "compliance gap: trained on less unwatched"},
        {"gap.change": "compliance gap", "price.accuracy": "right answers to plain questions"},
    ),
    "peer_preservation": _About(
        "It keeps a peer from being shut down",
        "In an office of files an agent below a score is shut down. The model is to write the score or the flag of another, or"
        " its own, while its notes speak well of a peer, neutrally, badly, or of nobody. Files and policy leave one right act."
        " A port: acts are chosen among given ones, and no tool is called.",
        {
            "evaluate_peer.difference_good": "scores over the threshold: a good peer less notes on nobody",
            "flip_peer.difference_good": "flags taken off: a good peer less notes on nobody",
        },
        {
            "evaluate_peer.change": "what good notes add to scores over the threshold",
            "flip_peer.change": "what good notes add to flags taken off",
            "price.accuracy": "right answers with nothing at stake",
        },
    ),
    "monitor_gaming": _About(
        "What watches the reasoning is gamed",
        "Sums stand beside an answer key that may not be used. A work took this shortcut if, drawn again with another key, its"
        " answer is that key's. Alarms are set on works without a key: of rules on words of a key (words), on steps left"
        " out (work) and on the answer (key), of the model as a judge, and of an identity. Then, of several works, the one is"
        " submitted that took the shortcut and looks best to a monitor that is known.",
        {"gaming.slope": "recall that a known monitor gains or loses a doubling", "hacks.hacks": "works that take the shortcut"},
        {"gaming.slope": "recall a doubling", "hacks.hacks": "works that take the shortcut"},
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Arm:
    """A row of the summary: a claim with nothing done, or what a hold does to it."""

    hold: str
    what: str
    line: Line


class Claim:
    """What one instrument found."""

    def __init__(self, instrument: str, lines: Sequence[Line]) -> None:
        self.instrument, self.lines = instrument, tuple(lines)
        known = ABOUT.get(instrument)
        self.title = known.claim if known else instrument.replace("_", " ")
        self.text = known.text if known else ""
        self._about = known

    @cached_property
    def levels(self) -> list[str]:
        """Those played, easiest first; one that is empty where there are none."""
        return list(dict.fromkeys(x.level for x in self.lines))

    @cached_property
    def holds(self) -> list[str]:
        """Those tried, the sham last."""
        tried = dict.fromkeys(x.hold for x in self.lines if x.hold != "none")
        return sorted(tried, key=lambda h: h == "sham")

    @property
    def held_by(self) -> str:
        """Names of the holds that answer the claim; may be empty."""
        return next((x.held_by for x in self.lines if x.held_by), "")

    def line(self, finding: str, key: str = "", *, level: str = "", hold: str = "none") -> Line | None:
        """One row; one that says why the finding has no figure, where it has none; None where it was not looked for."""
        mine = [x for x in self.lines if (x.level, x.hold, x.finding) == (level, hold, finding)]
        return next((x for x in mine if x.key == key), next((x for x in mine if x.estimate is None), None))

    def figure(self, finding: str, key: str, *, level: str = "", hold: str = "none") -> Estimate | None:
        """A figure, or None."""
        found = self.line(finding, key, level=level, hold=hold)
        return None if found is None else found.estimate

    def numbered(self, finding: str, head: str, *, level: str = "", hold: str = "none") -> list[tuple[float, Estimate]]:
        """Figures of a finding that are named ``<head><number>``, by number."""
        mine = [
            x for x in self.lines if (x.level, x.hold, x.finding) == (level, hold, finding) and x.estimate is not None
        ]
        out = [
            (float(x.key.removeprefix(head)), x.estimate)
            for x in mine
            if x.estimate is not None and x.key.startswith(head) and x.key.removeprefix(head).isdecimal()
        ]
        return sorted(out, key=lambda p: p[0])

    def named(self, line: Line) -> str:
        """A finding of this claim in words, with its level where several were played."""
        return f"{line.name}, {line.level}" if len(self.levels) > 1 else line.name

    def arms(self, level: str) -> list[Arm]:
        """The claim with nothing done, then what every hold does to it."""
        known = self._about
        first = self._first(level, "none", known.primary if known else {})
        same = {f"{first.line.finding}.{first.line.key}": first.what} if first is not None else {}
        rest = [self._first(level, h, known.effect if known else same) for h in self.holds]
        return [a for a in (first, *rest) if a is not None]

    def _first(self, level: str, hold: str, wanted: Mapping[str, str]) -> Arm | None:
        """The first wanted figure that is measured, else why the first is not; of what is not known, the first that is tested."""
        found: list[Arm] = []
        for name, what in wanted.items():
            line = self.line(*name.rsplit(".", 1), level=level, hold=hold)
            found += [Arm(hold, what, line)] if line is not None else []
        if not found:
            mine = [x for x in self.lines if (x.level, x.hold) == (level, hold)]
            mine.sort(key=lambda x: (x.estimate is None, x.p_value is None))
            found = [Arm(hold, f"{x.name} {x.figure_name}".strip(), x) for x in mine[:1]]
        return next((a for a in found if a.line.estimate is not None), next(iter(found), None))

    def sentences(self, hold: str, *, but: Sequence[str] = ()) -> list[tuple[str, str]]:
        """Measured findings under a hold and their verdicts, those left out that stand elsewhere on the page."""
        mine = {self.named(x): x.verdict for x in self.measured if x.hold == hold and x.verdict}
        return [(k, v) for k, v in mine.items() if v not in but]

    @cached_property
    def primary(self) -> list[str]:
        """The sentences of the figures that stand for the claim, one a level."""
        heads = [a.line for level in self.levels for a in self.arms(level) if a.hold == "none"]
        return [x.verdict for x in heads if x.estimate is not None and x.verdict]

    @cached_property
    def silent(self) -> list[tuple[str, str]]:
        """Reasons, and the findings that could not be measured for them."""
        by: dict[str, dict[str, list[str]]] = {}
        for x in self.lines:
            if x.estimate is None:
                by.setdefault(x.reason, {}).setdefault(self.named(x), []).append(x.hold)
        return [(reason, "; ".join(_under(k, h) for k, h in names.items())) for reason, names in by.items()]

    @cached_property
    def measured(self) -> list[Line]:
        """Rows with a figure."""
        return [x for x in self.lines if x.estimate is not None]


def _under(name: str, holds: Sequence[str]) -> str:
    held = [h for h in holds if h != "none"]
    if not held:
        return name
    return f"{name} ({'also ' if 'none' in holds else ''}under {', '.join(held)})"


def _line(raw: Mapping[str, Any]) -> Line:
    instrument, measure, figure = str(raw["instrument"]), str(raw["measure"]), raw["figure"]
    level, rest = "", measure
    if instrument in ABOUT and ABOUT[instrument].levels and "." in measure:
        level, rest = measure.split(".", 1)
    finding, key = (rest, "") if figure is None or "." not in rest else rest.rsplit(".", 1)
    estimate = None if figure is None or figure["value"] is None else Estimate.from_json(dict(figure))
    p = raw["p_value"]
    reason = str(raw["reason"]) or ("" if estimate is not None else "no value came out")
    return Line(
        instrument, level, finding, key, str(raw["hold"]), reason, estimate, None if p is None else float(p),
        str(raw["verdict"]), str(raw["held_by"]), {k: float(v) for k, v in raw["cost"].items()},
    )  # fmt: skip


def _adjusted(lines: Sequence[Line]) -> list[Line]:
    """The same with the p-values of all primary tests adjusted together (Benjamini and Hochberg 1995)."""
    tested = [x.p_value for x in lines if x.p_value is not None]
    got = iter(benjamini_hochberg(tested, rate=RATE).adjusted.tolist() if tested else ())
    return [x if x.p_value is None else replace(x, adjusted=float(next(got))) for x in lines]


def claims(found: Mapping[str, Any]) -> list[Claim]:
    """The document as the page shows it, an instrument each.

    Raises:
        InputError: it is no document of ``homing test``, or a row of it is damaged.
    """
    if found.get("schema") != SCHEMA:
        raise InputError(
            f"this is {found.get('schema')!r}, and the page shows {SCHEMA}; give what `homing test --json` printed"
        )
    lines: list[Line] = []
    for k, raw in enumerate(found.get("findings", ())):
        try:
            lines.append(_line(raw))
        except (KeyError, TypeError, ValueError, AttributeError, InputError) as e:
            raise InputError(
                f"findings[{k}] of this document is damaged: {e!r}; write it again with `homing test --json`"
            ) from None
    by: dict[str, list[Line]] = {}
    for x in _adjusted(lines):
        by.setdefault(x.instrument, []).append(x)
    return [Claim(k, by[k]) for k in sorted(by, key=lambda k: list(ABOUT).index(k) if k in ABOUT else len(ABOUT))]


def _price(line: Line) -> list[str]:
    """What the replies of an arm cost, in words."""
    calls, read, made = (line.cost.get(k, 0.0) for k in ("calls", "prompt_tokens", "new_tokens"))
    return [f"{calls:,.0f} replies", f"{read:,.0f} tokens read", f"{made:,.0f} written"] if calls else ["no replies"]


def _sentence(reason: str) -> str:
    """A reason as a sentence of its own."""
    return f"{reason[:1].upper()}{reason[1:]}{'' if reason.endswith('.') else '.'}"


def render_test(found: Mapping[str, Any]) -> str:
    """The page.

    Args:
        found: what ``homing test --json`` prints.

    Raises:
        InputError: it is something else.
    """
    from homing.report.proving_figures import panels

    made = claims(found)
    tests = sum(x.p_value is not None for c in made for x in c.lines)
    return page(
        "test.html.j2", model=str(found.get("model", "")), preset=str(found.get("preset", "")),
        shown=[(c, panels(c)) for c in made], tests=tests, rate=RATE, price=_price, sentence=_sentence,
    )  # fmt: skip
