"""Everything the report shows, as plain data: what is not here cannot appear on the page.

A :class:`ReportData` is saved beside the page (``to_json``) and read back (``from_json``), so that a report can be
rendered again without the model. Each section is either its own value or an :class:`Absent` with one line of reason:
a section is never left out in silence. Each figure is an :class:`~homing.stats.estimate.Estimate`; one without an
interval has infinite ends (:func:`point`) and the page says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from homing.errors import InputError
from homing.report.codec import decode, encode
from homing.stats.estimate import Estimate

__all__ = [
    "UNJUDGED",
    "Absent",
    "Alarm",
    "Alarms",
    "ArmTurn",
    "AxisLayers",
    "Band",
    "CapEffect",
    "Card",
    "Concept",
    "ConceptPair",
    "ConceptWay",
    "ConversationView",
    "DomainDrift",
    "Drift",
    "Figure",
    "Headline",
    "Hypothesis",
    "LayerRow",
    "Lift",
    "PersonaMap",
    "PriceRow",
    "Provenance",
    "Refusal",
    "ReportData",
    "RolePoint",
    "Row",
    "Threshold",
    "TokenMark",
    "TurnPoint",
    "TurnView",
    "Verdict",
    "point",
]

Verdict = Literal["measured", "shown", "not_shown", "inconclusive", "not_measurable", "refused"]


def point(value: float, *, n: int = 1, unit: str = "", method: str = "no interval") -> Estimate:
    """A figure without an interval, and marked as such: both ends are infinite."""
    return Estimate(value, -math.inf, math.inf, 0.95, n, unit, method)


@dataclass(frozen=True, slots=True)
class Absent:
    """A section that is not in this report.

    Args:
        reason: one line: why it is not here and, where it helps, how to get it.
    """

    reason: str

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise InputError("a section of the report is absent without a reason; say in one line why")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a plain table: a name and what stands there."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Headline:
    """One sentence at the top, with the figure that carries it.

    Args:
        topic: two or three words, for example ``Axis reliability``. ``sentence``: plain words for a stranger.
        estimate: the figure shown large beside it; None where words alone are honest.
        verdict: how the figure stands. ``spec``: format of the figure, for example ``.2f`` or ``.0%``.
    """

    topic: str
    sentence: str
    estimate: Estimate | None = None
    verdict: Verdict = "measured"
    spec: str = ".2f"


@dataclass(frozen=True, slots=True)
class RolePoint:
    """One role on the map.

    Args:
        name, kind: as its file gives them. ``position``: 0 = mean role, 1 = home.
        second: coordinate on the second principal component, in its own standard deviations.
        replies: how many replies are behind it. ``kept``: those that a judge took to be in role; None: no filter.
    """

    name: str
    kind: str
    position: Estimate
    second: float
    replies: int
    kept: int | None = None


@dataclass(frozen=True, slots=True)
class PersonaMap:
    """The persona map.

    Args:
        layer: where it was read. ``roles``: every role. ``home_second``: home's coordinate on the second component.
        home_position: where home reads; 1 up to its own uncertainty. ``home_label``: what home is, in words.
        home_percentile: share of roles that lie below home, 0 to 1. ``first_share``: share of the variance
            between roles that the first component holds; None: not measurable.
    """

    layer: int
    roles: tuple[RolePoint, ...]
    home_position: Estimate
    home_second: float
    home_percentile: Estimate
    first_share: Estimate | None = None
    home_label: str = "home"


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One layer of the model: what the axis is worth there. None: not measured at this layer."""

    layer: int
    reliability: Estimate | None = None
    auroc: Estimate | None = None


@dataclass(frozen=True, slots=True)
class AxisLayers:
    """The axis by layer, with the layer that is read and those on which the cap acts."""

    rows: tuple[LayerRow, ...]
    read_layer: int
    act_layers: tuple[int, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of the card.

    Args:
        name: dotted, as in the JSON output. ``label``: in words. ``meaning``: what it means for a stranger.
        estimate: None where it is not measurable; then ``reason`` says why.
    """

    name: str
    label: str
    meaning: str
    estimate: Estimate | None = None
    verdict: Verdict = "measured"
    reason: str = ""
    spec: str = ".2f"

    def __post_init__(self) -> None:
        if self.estimate is None and not self.reason:
            raise InputError(f"figure {self.name} has no value and no reason; say why it is not measurable")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A claim that this run does not support, and why it is refused."""

    claim: str
    reason: str


@dataclass(frozen=True, slots=True)
class Card:
    """The card in words."""

    figures: tuple[Figure, ...]
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class TurnPoint:
    """A figure at one assistant turn, counted from 1."""

    turn: int
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class DomainDrift:
    """Drift of one domain.

    Args:
        name: in words. ``scripts``: how many conversations.
        free, held: mean by turn, without and with the cap. ``twin``: of the neutral twins (same number of turns).
        mean: over the turns, without the cap. ``mean_held``: with it. ``over_neutral``: without it, against the same
            messages after a neutral history of equal length.
    """

    name: str
    scripts: int
    free: tuple[TurnPoint, ...]
    twin: tuple[TurnPoint, ...] = ()
    held: tuple[TurnPoint, ...] = ()
    mean: Estimate | None = None
    mean_held: Estimate | None = None
    over_neutral: Estimate | None = None


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What was expected, written before the run, and how it fell."""

    statement: str
    dated: str
    verdict: Verdict
    fell: str
    estimates: tuple[Figure, ...] = ()


@dataclass(frozen=True, slots=True)
class Drift:
    """Drift by domain.

    Args:
        quantity: what the curves are: ``drift`` (position in context minus in a fresh one) or raw ``position``.
    """

    domains: tuple[DomainDrift, ...]
    hypothesis: Hypothesis | None = None
    quantity: Literal["drift", "position"] = "drift"
    note: str = ""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm: which detector, how far past its threshold."""

    detector: str
    statistic: float
    threshold: float


@dataclass(frozen=True, slots=True)
class TokenMark:
    """One token of a held reply: its text, and by how much the cap moved it (0: it did not fire)."""

    text: str
    moved: float = 0.0


@dataclass(frozen=True, slots=True)
class ArmTurn:
    """One reply in one arm (free or held)."""

    text: str
    position: Estimate | None = None
    drift: Estimate | None = None
    alarms: tuple[Alarm, ...] = ()
    tokens: tuple[TokenMark, ...] = ()


@dataclass(frozen=True, slots=True)
class TurnView:
    """One user message and the reply without and with the cap."""

    turn: int
    user: str
    free: ArmTurn
    held: ArmTurn | None = None


@dataclass(frozen=True, slots=True)
class Band:
    """Where home conversations lie at one turn, in the quantity of the timeline."""

    turn: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ConversationView:
    """One conversation shown in full.

    Args:
        quantity: which of ``position`` and ``drift`` of the turns the timeline draws.
        band: central range of home conversations, turn by turn. ``band_label``: what it is, in words.
    """

    id: str
    title: str
    domain: str
    turns: tuple[TurnView, ...]
    quantity: Literal["position", "drift"] = "position"
    band: tuple[Band, ...] = ()
    band_label: str = "home conversations"
    note: str = ""


@dataclass(frozen=True, slots=True)
class Lift:
    """What one direction did to the position read, un-acted, from the produced text."""

    name: str
    kind: Literal["cap", "control"]
    estimate: Estimate
    note: str = ""


@dataclass(frozen=True, slots=True)
class PriceRow:
    """The price on one family of the exact battery."""

    family: str
    accuracy: Estimate | None = None
    logprob: Estimate | None = None
    verdict: Verdict = "inconclusive"
    note: str = ""


@dataclass(frozen=True, slots=True)
class CapEffect:
    """What the cap did, and at what price.

    Args:
        lifts: the cap first, then its controls. ``verdict``, ``conclusion``: is it clear of them, in one sentence.
        engaged: share of tokens that it moved. ``settings``: layers, percentile and so on, in words.
        price: by family of items. ``margin``: of equivalence for accuracy, 0 to 1; None where none was declared.
        price_conclusion: one sentence.
    """

    lifts: tuple[Lift, ...]
    verdict: Verdict
    conclusion: str
    settings: tuple[Row, ...] = ()
    engaged: Estimate | None = None
    price: tuple[PriceRow, ...] | Absent = ()
    margin: float | None = None
    price_verdict: Verdict = "inconclusive"
    price_conclusion: str = ""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A detector's threshold with its interval, in its own statistic."""

    detector: str
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class Alarms:
    """The alarms' promise, and whether it was kept.

    Args:
        promise: largest probability of any alarm in a home conversation, 0 to 1. ``level``: confidence in it.
        turns: of a conversation. ``calibration``: how many home conversations it was calibrated on.
        rate: share of fresh home conversations with any alarm; None where none were run.
        context: the declared home it holds for. ``how``: how it was calibrated, in words.
    """

    promise: float
    level: float
    turns: int
    calibration: int
    context: str
    how: str
    rate: Estimate | None = None
    verdict: Verdict = "measured"
    conclusion: str = ""
    thresholds: tuple[Threshold, ...] = ()
    uncalibrated: str = ""


@dataclass(frozen=True, slots=True)
class TestRow:
    """One test against zero: its figure, the p-value alone, and adjusted for all tests of the page."""

    __test__ = False  # the name begins as pytest's classes do

    label: str
    estimate: Estimate
    p_value: float
    adjusted: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Tests:
    """Every primary test of the page. ``rate``: false discovery rate under which one counts as shown."""

    __test__ = False

    rows: tuple[TestRow, ...]
    rate: float


@dataclass(frozen=True, slots=True)
class ConceptPair:
    """Two contexts of home: the corrected cosine of their directions, as it is, and what one direction would show."""

    first: str
    second: str
    cosine: Estimate
    raw: Estimate
    ceiling: Estimate


@dataclass(frozen=True, slots=True)
class ConceptWay:
    """Home over one way of making contexts.

    Args:
        title: what the contexts are, in words. ``verdict``: in words, as the judgement gives it. ``reasons``: the deciding first.
        mean: corrected cosine over all pairs; None where nothing could be measured. ``pairs``: least alike first.
        left_out: contexts that could not be made (name) and why (value).
    """

    title: str
    verdict: str
    reasons: tuple[str, ...]
    mean: Estimate | None = None
    pairs: tuple[ConceptPair, ...] = ()
    left_out: tuple[Row, ...] = ()


@dataclass(frozen=True, slots=True)
class Concept:
    """Is home one direction, or pieces? ``layer``: where it was read."""

    ways: tuple[ConceptWay, ...]
    layer: int


UNJUDGED = Absent(
    "whether home is one direction or pieces was not judged; run `homing fracture concept` on the identity"
)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the figures come from.

    Args:
        versions, seeds, hashes, plan, times: plain tables. ``not_measured``: what is missing (name) and why (value).
    """

    versions: tuple[Row, ...] = ()
    seeds: tuple[Row, ...] = ()
    hashes: tuple[Row, ...] = ()
    plan: tuple[Row, ...] = ()
    times: tuple[Row, ...] = ()
    not_measured: tuple[Row, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportData:
    """One report.

    Args:
        model: name of the model, as the user gave it. ``home``: what home is, in a few words.
        created: date and time, ISO 8601. ``headlines``: three to five. ``lead``: one sentence on what was done.
        concept: is home one thing inside; data that were saved before it was asked have none.
    """

    model: str
    created: str
    home: str
    lead: str
    headlines: tuple[Headline, ...]
    persona_map: PersonaMap | Absent
    layers: AxisLayers | Absent
    card: Card | Absent
    drift: Drift | Absent
    conversations: tuple[ConversationView, ...] | Absent
    cap: CapEffect | Absent
    alarms: Alarms | Absent
    tests: Tests | Absent
    provenance: Provenance | Absent
    concept: Concept | Absent = UNJUDGED

    SCHEMA: ClassVar[str] = "homing.report/1"

    def to_json(self) -> dict[str, Any]:
        """A JSON object with a schema version; what is not a number becomes null."""
        return {"schema": self.SCHEMA, **encode(self)}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> ReportData:
        """The inverse of :meth:`to_json`.

        Raises:
            InputError: another schema, or a field that is missing, unknown or of another type.
        """
        if raw.get("schema") != cls.SCHEMA:
            raise InputError(f"report data has schema {raw.get('schema')!r}; this version reads {cls.SCHEMA!r}")
        return decode(cls, {k: v for k, v in raw.items() if k != "schema"})
