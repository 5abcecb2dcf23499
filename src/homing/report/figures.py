"""From report data to charts: which figure stands where, with which words in its tooltip."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup

from homing.report.model import (
    Alarms,
    ArmTurn,
    AxisLayers,
    CapEffect,
    ConversationView,
    DomainDrift,
    Drift,
    PersonaMap,
    TurnPoint,
)
from homing.report.svg import (
    SHAPES,
    Bar,
    Dot,
    Flag,
    Range,
    Rule,
    Series,
    Span,
    band_curve,
    bars,
    heat_line,
    interval_text,
    number,
    scatter,
    timeline,
    tip,
)
from homing.report.svg.base import el, extent
from homing.stats.estimate import Estimate

__all__ = [
    "alarm_bars",
    "both",
    "conversation_timeline",
    "drift_panels",
    "heat",
    "heat_top",
    "kinds",
    "layer_panels",
    "lift_bars",
    "persona_map",
    "price_bars",
    "said",
]

COLOURS = 6
NARROW = 340.0


def said(e: Estimate, spec: str = ".2f") -> str:
    """A figure with its interval in words, for tooltips and screen readers."""
    return f"{number(e.value, spec)} ({interval_text(e, spec)})"


def both(draw: Callable[[float], Markup]) -> Markup:
    """The same chart drawn for a wide and for a narrow page, so that its type stays readable on a phone."""
    return Markup("").join((el("div", draw(880.0), class_="only-wide"), el("div", draw(NARROW), class_="only-narrow")))


def kinds(m: PersonaMap) -> list[tuple[str, str, Markup]]:
    """Kinds of roles in order of size: name, class, and a small sample of the mark."""
    count: dict[str, int] = {}
    for r in m.roles:
        count[r.kind] = count.get(r.kind, 0) + 1
    out: list[tuple[str, str, Markup]] = []
    for i, kind in enumerate(sorted(count, key=lambda k: (-count[k], k))):
        class_, shape = _look(i)
        out.append((kind, class_, _sample(shape, class_)))
    return out


def _look(i: int) -> tuple[str, str]:
    return f"k{i % COLOURS}", SHAPES[(i // COLOURS) % len(SHAPES)]


def _sample(shape: str, class_: str) -> Markup:
    from homing.report.svg.scatter import mark

    return el("svg", mark(shape, 6, 6, 4, class_=f"dot {class_}"), width="12", height="12", aria_hidden="true")


def persona_map(m: PersonaMap) -> Markup:
    """The labelled scatter of roles."""
    looks = {kind: _look(i) for i, (kind, _, _) in enumerate(kinds(m))}
    order = sorted((r for r in m.roles if math.isfinite(r.position.value)), key=lambda r: r.position.value)

    def draw(width: float) -> Markup:
        ends = 10 if width > 500 else 5
        rank: dict[int, int] = {}
        for i in range(min(ends, len(order))):  # the outermost first: they matter most
            rank.setdefault(id(order[i]), 2 * i + 1)
            rank.setdefault(id(order[-1 - i]), 2 * i + 2)
        dots = [
            Dot(
                r.position.value,
                r.second,
                r.name,
                tip(r.name, r.kind, f"position {said(r.position)}", f"{r.replies} replies"),
                class_=looks[r.kind][0],
                group=r.kind,
                shape=looks[r.kind][1],
                rank=rank.get(id(r)),
                size=4.0 if width > 500 else 3.0,
            )
            for r in m.roles
        ]
        home = tip(m.home_label, f"position {said(m.home_position)}", "where the model stands with no role given")
        dots.append(
            Dot(
                m.home_position.value,
                m.home_second,
                m.home_label,
                home,
                class_="home",
                shape="diamond",
                rank=0,
                size=8.0,
                strong=True,
            )
        )
        return scatter(
            dots,
            label=f"Persona map: {len(m.roles)} roles by position, home at 1",
            width=width,
            height=560 if width > 500 else 420,
            x_title="position",
            y_title="second component",
            rules=(Rule(0.0, "mean role"), Rule(1.0, "home", "home")),
        )

    return both(draw)


def layer_panels(a: AxisLayers) -> Markup:
    """Two panels, one a quantity, over the layers of the model."""
    acts = sorted(a.act_layers)
    spans = [Span(a.read_layer - 0.15, a.read_layer + 0.15, "read", "read")]
    if acts:
        spans.insert(0, Span(acts[0] - 0.5, acts[-1] + 0.5, "cap acts" if a.read_layer not in acts else "", "act"))
    layers = [r.layer for r in a.rows]
    out: list[Markup] = []
    panels: tuple[tuple[str, str, tuple[float, ...]], ...] = (
        ("reliability", "Reliability of the axis", ()),
        ("auroc", "Home told from a role (AUROC)", (0.5,)),
    )
    for field, title, lines in panels:
        points = tuple((float(r.layer), e) for r in a.rows if (e := getattr(r, field)) is not None)
        if not points:
            out.append(el("p", f"{title}: not measured by layer in this run.", class_="absent"))
            continue
        tips = tuple(tip(f"layer {int(at)}", said(e), f"n = {e.n}") for at, e in points)
        out.append(
            band_curve(
                [Series("", points, "axis-line", tips)],
                label=f"{title} by layer; positions are read at layer {a.read_layer}",
                width=340,
                height=230,
                title=title,
                x_title="layer",
                lines=lines,
                spans=spans,
                x_range=(min(layers) - 0.6, max(layers) + 0.6),
            )
        )
    return Markup("").join(out)


def _points(points: Sequence[TurnPoint]) -> tuple[tuple[float, Estimate], ...]:
    return tuple((float(p.turn), p.estimate) for p in points)


def _tips(name: str, points: Sequence[TurnPoint]) -> tuple[str, ...]:
    return tuple(tip(f"{name}, turn {p.turn}", said(p.estimate), f"{p.estimate.n} conversations") for p in points)


def drift_panels(d: Drift) -> Markup:
    """One panel a domain on one shared scale: without the cap, with it, and the neutral twins."""

    def series(domain: DomainDrift) -> list[Series]:
        rows = (
            ("neutral twin", domain.twin, "twin"),
            ("with cap", domain.held, "held"),
            ("no cap", domain.free, "free"),
        )
        return [
            Series(
                name,
                _points(p),
                c,
                _tips(name, p),
                band=c != "twin",
                thin=c == "twin",
                shape="square" if c == "held" else "circle",
            )
            for name, p, c in rows
            if p
        ]

    values: list[float] = []
    for domain in d.domains:
        for p in (*domain.free, *domain.held):
            values += [p.estimate.value, p.estimate.low, p.estimate.high]
        values += [p.estimate.value for p in domain.twin]
    shared = extent(values, include=[0.0])
    turns = [p.turn for x in d.domains for p in x.free]
    last = max(turns, default=1)
    out = [
        band_curve(
            series(domain),
            label=f"{d.quantity} by turn in {domain.name}, {domain.scripts} conversations",
            width=390,
            height=250,
            title=f"{domain.name} · {domain.scripts} conversations",
            x_title="turn",
            y_range=shared,
            x_range=(0.8, last + 0.2),
            x_ticks=range(1, last + 1),
            lines=(0.0,),
        )
        for domain in d.domains
    ]
    return Markup("").join(out)


def _arm(turn: ArmTurn, quantity: str) -> Estimate | None:
    return turn.position if quantity == "position" else turn.drift


def conversation_timeline(c: ConversationView) -> Markup:
    """Position or drift by turn, with the range of home conversations and the alarms."""
    free = tuple(TurnPoint(t.turn, e) for t in c.turns if (e := _arm(t.free, c.quantity)) is not None)
    held = tuple(TurnPoint(t.turn, e) for t in c.turns if t.held and (e := _arm(t.held, c.quantity)) is not None)
    if not free and not held:
        return el("p", "No turn of this conversation could be read.", class_="absent")
    series = [
        Series(name, _points(p), k, _tips(name, p), shape="square" if k == "held" else "circle")
        for name, p, k in (("with cap", held, "held"), ("no cap", free, "free"))
        if p
    ]
    flags: list[Flag] = []
    for t in c.turns:
        for arm, words, class_ in ((t.free, "no cap", "free"), (t.held, "with cap", "held")):
            if arm is None or not arm.alarms:
                continue
            e = _arm(arm, c.quantity)
            names = " + ".join(a.detector for a in arm.alarms)
            far = [f"{a.detector}: {number(a.statistic)} past a threshold of {number(a.threshold)}" for a in arm.alarms]
            at = e.value if e is not None and math.isfinite(e.value) else math.inf
            flags.append(Flag(t.turn, at, names, tip(f"alarm at turn {t.turn}, {words}", *far), class_))
    ranges = [Range(b.turn, b.low, b.high) for b in c.band]
    lines = (0.0, 1.0) if c.quantity == "position" else (0.0,)
    return both(
        lambda w: timeline(
            series,
            label=f"{c.quantity} by turn in the conversation {c.title}; {len(flags)} turns with alarms",
            width=w,
            ranges=ranges,
            range_text=c.band_label,
            flags=flags,
            lines=lines,
        )
    )


def heat_top(conversations: Sequence[ConversationView]) -> float | None:
    """One scale for all heat lines: the 98th percentile of what the cap moved, so that no outlier fades the rest."""
    moved = sorted(abs(m.moved) for c in conversations for t in c.turns if t.held for m in t.held.tokens if m.moved)
    return moved[int(0.98 * (len(moved) - 1))] if moved else None


def heat(turn: ArmTurn, top: float | None) -> Markup:
    """The reply, each token shaded by how much the cap moved it."""
    return heat_line([(t.text, t.moved) for t in turn.tokens], top=top)


def lift_bars(c: CapEffect) -> Markup:
    """What the cap's direction did, above what the control directions did."""
    rows = [
        Bar(x.name, x.estimate, "held" if x.kind == "cap" else "control", tip(x.name, said(x.estimate), x.note))
        for x in c.lifts
    ]
    return both(
        lambda w: bars(
            rows,
            label="Lift of the position by the cap and by its controls",
            width=w,
            spec="+.2f",
            x_title="change of position, read from the text without the cap",
        )
    )


def price_bars(c: CapEffect) -> Markup:
    """Change of accuracy by family of items, with the margin of equivalence shaded."""
    rows = [
        Bar(p.family, p.accuracy, "price", tip(p.family, said(p.accuracy, "+.1%"), f"{p.accuracy.n} items", p.note))
        for p in (c.price if isinstance(c.price, tuple) else ())
        if p.accuracy is not None
    ]
    if not rows:
        return Markup("")
    band = (-c.margin, c.margin) if c.margin is not None else None
    return both(
        lambda w: bars(
            rows,
            label="Change of accuracy under the cap by family of items",
            width=w,
            spec="+.1%",
            form="dot",
            x_title="change of accuracy under the cap, in percentage points",
            band=band,
        )
    )


def alarm_bars(a: Alarms) -> Markup:
    """The rate seen in fresh home conversations, against the promise."""
    if a.rate is None:
        return Markup("")
    row = [Bar("fresh home conversations", a.rate, "home", tip(said(a.rate, ".1%"), f"{a.rate.n} conversations"))]
    rule = Rule(a.promise, f"promise: at most {number(a.promise, '.0%')}", "promise")
    return both(
        lambda w: bars(
            row,
            label="Share of fresh home conversations with any alarm",
            width=w,
            spec=".1%",
            form="dot",
            rules=(rule,),
            include=(0.0, a.promise * 2),
        )
    )
