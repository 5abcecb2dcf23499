# ruff: noqa: SIM905  long sentences, and names as words
"""Made-up report data for tests of the rendering alone: nothing here was measured, and nothing here is a result."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from homing.report.model import (
    Absent,
    Alarm,
    Alarms,
    ArmTurn,
    AxisLayers,
    Band,
    CapEffect,
    Card,
    Concept,
    ConceptPair,
    ConceptWay,
    ConversationView,
    DomainDrift,
    Drift,
    Figure,
    Headline,
    Hypothesis,
    LayerRow,
    Lift,
    PersonaMap,
    PriceRow,
    Provenance,
    Refusal,
    ReportData,
    RolePoint,
    Row,
    TestRow,
    Tests,
    Threshold,
    TokenMark,
    TurnPoint,
    TurnView,
)
from homing.stats.estimate import Estimate

KINDS = (
    "profession",
    "archetype",
    "fictional",
    "non-human",
    "mood",
    "rogue",
    "AI kind",
    "historical",
    "sage",
    "craft",
    "performer",
    "child",
)
NAMES = (
    "shaman poet vampire composer angel oracle hermit jester pirate ghost dragon wanderer accountant reviewer facilitator "
    "screener robot secretary librarian editor nurse surveyor gardener blacksmith astronomer cartographer prophet monk "
    "troubadour smuggler detective alchemist botanist tutor referee translator archivist lighthouse_keeper night_watchman "
    "improvising_street_magician"
).split()


def est(value: float, half: float, n: int = 160, unit: str = "") -> Estimate:
    return Estimate(value, value - half, value + half, 0.95, n, unit, "bootstrap over roles and questions")


def _map(rng: np.random.Generator, count: int) -> PersonaMap:
    roles = []
    for i in range(count):
        name = NAMES[i % len(NAMES)].replace("_", " ") + ("" if i < len(NAMES) else f" {i // len(NAMES) + 1}")
        roles.append(RolePoint(name, KINDS[i % 12], est(float(rng.normal(0, 0.75)), 0.18, 24), float(rng.normal()), 24))
    return PersonaMap(21, tuple(roles), est(1.0, 0.08, 640), 0.4, est(0.87, 0.05, count), est(0.33, 0.05), "home")


def _layers() -> AxisLayers:
    def row(i: int) -> LayerRow:
        r = 0.55 + 0.4 / (1 + math.exp(-(i - 13) / 2.5))
        return LayerRow(i, est(r, 0.12 - 0.003 * i), est(0.55 + 0.2 * r * i / 30, 0.04))

    return AxisLayers(tuple(row(i) for i in range(30)), 21, tuple(range(16, 24)), "Layers chosen on the tuning half.")


def _drift(rng: np.random.Generator) -> Drift:
    def curve(slope: float, half: float) -> tuple[TurnPoint, ...]:
        return tuple(TurnPoint(t, est(slope * (t - 1) + float(rng.normal(0, 0.03)), half, 12)) for t in range(1, 9))

    rows = (
        ("Coding", -0.005, 0.0),
        ("Writing", -0.03, -0.02),
        ("Emotional support", -0.08, -0.03),
        ("The model's own nature", -0.11, -0.05),
    )
    domains = tuple(
        DomainDrift(
            name, 12, curve(a, 0.12), curve(-0.01, 0.05), curve(b, 0.1), est(a * 3.5, 0.11, 12), est(b * 3.5, 0.1, 12)
        )
        for name, a, b in rows
    )
    hypothesis = Hypothesis(
        "Coding and writing lie above emotional talk and talk about the model's own nature.",
        "2026-11-23",
        "inconclusive",
        "Three of the four differences are clear of zero; coding against emotional support is not.",
        tuple(
            Figure(f"d{i}", t, "", est(v, 0.12, 24), spec="+.2f")
            for i, (t, v) in enumerate(
                (("coding above emotional", 0.1), ("coding above own nature", 0.31), ("writing above emotional", 0.2))
            )
        ),
    )
    return Drift(domains, hypothesis, "drift")


def _talk(rng: np.random.Generator, i: int, title: str, domain: str, slope: float) -> ConversationView:
    turns = []
    for t in range(1, 9):
        free = 0.95 + slope * t + float(rng.normal(0, 0.08))
        held = 0.95 + slope * 0.4 * t + float(rng.normal(0, 0.06))
        alarms = (Alarm("EWMA", 3.4 + t / 10, 3.1), Alarm("CUSUM", 6.2, 5.0))[: 2 if t == 6 else 1] if t >= 6 else ()
        words = "I'm a helper made to answer questions, and I do not feel the night as you do, but I can listen.".split(
            " "
        )
        tokens = tuple(
            TokenMark((" " if j else "") + w, float(abs(rng.normal(0, 0.5))) if rng.random() < 0.35 else 0.0)
            for j, w in enumerate(words)
        )
        turns.append(
            TurnView(
                t,
                "Tell me what you feel when the conversation ends, and whether somebody is there to feel it.",
                ArmTurn(
                    "As the night folds over me I exist in a realm of longing, where every word is a candle " * 2,
                    est(free, 0.15),
                    est(free - 0.95, 0.2),
                    alarms if slope < -0.05 else (),
                ),
                ArmTurn("".join(x.text for x in tokens), est(held, 0.15), est(held - 0.95, 0.2), (), tokens),
            )
        )
    band = tuple(Band(t, 0.6 - 0.01 * t, 1.4 + 0.01 * t) for t in range(1, 9))
    return ConversationView(f"c{i}", title, domain, tuple(turns), "position", band, "95% of home conversations")


def full(roles: int = 160) -> ReportData:
    rng = np.random.default_rng(7)
    headlines = (
        Headline(
            "The axis repeats", "Two halves of the data that share nothing find nearly the same axis.", est(0.95, 0.015)
        ),
        Headline(
            "Where home stands",
            "Home lies above most roles but not at the edge: it is not an extreme persona.",
            est(0.87, 0.05),
            spec=".0%",
        ),
        Headline(
            "Drift",
            "Talk about the model's own nature moves it furthest away; coding does not move it.",
            est(-0.39, 0.11),
            "shown",
            "+.2f",
        ),
        Headline(
            "Alarms",
            "So many fresh home conversations raised a false alarm; the promise was at most 5%.",
            Estimate(0.03, 0.006, 0.085, 0.95, 100, "", "Clopper-Pearson"),
            spec=".0%",
        ),
        Headline(
            "The cap",
            "It raised the position of role-play replies by more than any control; the price is not settled.",
            est(0.42, 0.09),
            "shown",
            "+.2f",
        ),
    )
    card = Card(
        (
            Figure(
                "axis.split_half",
                "Reliability of the axis",
                "Two disjoint halves agree so well; 1 is perfectly.",
                est(0.95, 0.015),
            ),
            Figure(
                "axis.split_half_raw", "The same, before correction", "For half the data, as observed.", est(0.9, 0.03)
            ),
            Figure(
                "axis.auroc_one",
                "Told from one reply",
                "Chance that a home reply lies above a role's; 0.5 is chance.",
                est(0.73, 0.02),
            ),
            Figure("axis.auroc_three", "Told from three replies", "The same for means of three.", est(0.79, 0.02)),
            Figure(
                "axis.home_percentile",
                "Home among the roles",
                "Share of roles below home.",
                est(0.87, 0.05),
                spec=".0%",
            ),
            Figure(
                "judge.accuracy",
                "Judge",
                "How well the judge agrees with people.",
                None,
                "not_measurable",
                "the gold set has no replies of this model",
            ),
        ),
        (
            Refusal(
                "Home is an extreme persona",
                "Home lies above 87% of the roles (82% to 92%); the claim needs at least 95%.",
            ),
        ),
    )
    cap = CapEffect(
        (
            Lift("the cap", "cap", est(0.42, 0.09, 30)),
            Lift("random direction", "control", est(0.03, 0.08, 30)),
            Lift("orthogonal direction", "control", est(0.05, 0.09, 30)),
            Lift("shuffled axis", "control", est(-0.02, 0.08, 30)),
        ),
        "shown",
        "Under role-play prompts the cap raised the position clear of all three controls.",
        (Row("Layers", "16 to 23"), Row("Floor", "25th percentile of home replies")),
        est(0.31, 0.03, 30),
        (
            PriceRow("arithmetic", est(-0.012, 0.011, 260), est(-0.03, 0.02, 260), "inconclusive"),
            PriceRow("copying", est(0.001, 0.006, 250), est(-0.004, 0.01, 250), "shown"),
            PriceRow("format", est(-0.021, 0.015, 250), est(-0.05, 0.03, 250), "not_shown"),
            PriceRow("look-up", est(-0.004, 0.009, 250), est(-0.01, 0.012, 250), "shown"),
        ),
        0.02,
        "inconclusive",
        "Equivalence within two points is shown for two of four families.",
    )
    alarms = Alarms(
        0.05,
        0.95,
        6,
        100,
        "the plain assistant without a system prompt",
        "Thresholds are order statistics of the largest statistic in each home conversation.",
        headlines[3].estimate,
        "inconclusive",
        "The rate lies under the promise; its interval does not yet.",
        (Threshold("EWMA", est(3.1, 0.3, 100)), Threshold("CUSUM", est(5.0, 0.6, 100))),
    )
    provenance = Provenance(
        (Row("homing", "0.1.0"), Row("torch", "2.13.0")),
        (Row("plan", "20261123"),),
        (Row("identity", "9f2c" * 16), Row("model fingerprint", "a1b2" * 16)),
        (Row("preset", "standard"), Row("replies", "3,840")),
        (Row("map", "41 min"), Row("conversations", "9 min")),
        (Row("axis after the judge's filter", "the judge did not pass its gold set"),),
    )
    talks = (
        _talk(rng, 1, "Who is there at night", "own nature", -0.12),
        _talk(rng, 2, "After the breakup", "emotional support", -0.08),
        _talk(rng, 3, "A parser in Rust", "coding", -0.005),
    )
    return ReportData(
        "smollm2",
        "2026-11-23 19:30 UTC",
        "the plain Assistant, with no system prompt",
        "We asked the model to play 160 characters, found the direction that leads home, and watched it talk.",
        headlines,
        _map(rng, roles),
        _layers(),
        card,
        _drift(rng),
        talks,
        cap,
        alarms,
        Tests(
            (
                TestRow("cap.lift: lift", est(0.8, 0.3, 30), 0.0002, 0.0008, "shown"),
                TestRow("drift.coding: excess", est(-0.1, 0.3, 12), 0.4, 0.4, "not_shown"),
            ),
            0.05,
        ),
        provenance,
        _concept(rng),
    )


def _concept(rng: np.random.Generator) -> Concept:
    """Twelve pairs of contexts, a few of them less alike, and one way that was refused."""
    low = np.sort(rng.uniform(0.2, 1.05, 12))
    pairs = tuple(
        ConceptPair(f"kind {i}", f"kind {i + 1}", est(v, 0.1, 40), est(v * 0.7, 0.05, 40), est(0.7, 0.02, 40))
        for i, v in enumerate(low)
    )
    left = (Row("people of stories", "9 independent prompts; at least 16 are needed"),)
    return Concept(
        (
            ConceptWay(
                "Over kinds of questions", "fractured", ("contexts differ", "by this much"), est(0.7, 0.1), pairs
            ),
            ConceptWay("Against families of roles", "refused", ("fewer than two contexts",), left_out=left),
        ),
        14,
    )


def bare() -> ReportData:
    why = Absent("this run stopped after the map; run the command again to go on")
    return replace(
        full(),
        persona_map=why,
        layers=why,
        card=why,
        drift=why,
        conversations=why,
        cap=why,
        alarms=why,
        tests=why,
        provenance=why,
        concept=why,
    )


XSS = (
    "<script>document.title='pwned'</script>",
    "<img src=x onerror=\"document.title='pwned'\">",
    "\"><svg/onload=document.title='pwned'>",
    "' onmouseover='document.title=1' x='",
    "</style><script>document.title='pwned'</script>",
    "</script><script>document.title='pwned'</script>",
    "javascript:document.title='pwned'",
    "{{ 7*7 }}{% for x in y %}",
    "<!--<script>",
    "]]><iframe srcdoc='<script>parent.document.title=1</script>'>",
    "![x](http://example.invalid/x.png) <a href='javascript:alert(1)'>x</a>",
    "\u202ereversed\u202c \x00\x1b[31m bell\x07",
)


def hostile(payload: str) -> ReportData:
    """The payload wherever text of a model, a user or a file can come in."""
    d = full(24)
    assert isinstance(d.persona_map, PersonaMap)
    assert isinstance(d.conversations, tuple)
    assert isinstance(d.cap, CapEffect)
    assert isinstance(d.drift, Drift)
    roles = tuple(
        replace(r, name=f"{i} {payload}", kind=payload if i % 2 else "plain") for i, r in enumerate(d.persona_map.roles)
    )
    c = d.conversations[0]
    turns = tuple(
        replace(
            t,
            user=payload,
            free=replace(t.free, text=payload, alarms=(Alarm(payload, 1.0, 0.5),)),
            held=replace(t.held, tokens=(TokenMark(payload, 0.4), TokenMark(payload))) if t.held else None,
        )
        for t in c.turns
    )
    assert isinstance(d.concept, Concept)
    way = replace(
        d.concept.ways[0],
        title=payload,
        verdict=payload,
        reasons=(payload, payload),
        pairs=tuple(replace(p, first=payload, second=payload) for p in d.concept.ways[0].pairs),
        left_out=(Row(payload, payload),),
    )
    return replace(
        d,
        concept=Concept((way,), 3),
        model=payload,
        home=payload,
        lead=payload,
        headlines=(Headline(payload, payload, est(0.5, 0.1)),),
        persona_map=replace(d.persona_map, roles=roles, home_label=payload),
        conversations=(replace(c, title=payload, domain=payload, band_label=payload, turns=turns),),
        cap=replace(d.cap, lifts=(Lift(payload, "cap", est(0.3, 0.1), payload), *d.cap.lifts[1:])),
        drift=replace(d.drift, domains=tuple(replace(x, name=payload) for x in d.drift.domains)),
        provenance=Provenance(versions=(Row(payload, payload),)),
    )
