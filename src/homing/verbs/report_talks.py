"""The views of conversations in a report: drift by domain, and single conversations with and without the cap."""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from homing.drift.calibration import Calibration
from homing.drift.scripts import load_hypothesis
from homing.identity import Identity
from homing.persona.scale import Scale
from homing.report.model import (
    Absent,
    Alarm,
    ArmTurn,
    Band,
    ConversationView,
    DomainDrift,
    Drift,
    Figure,
    Hypothesis,
    TokenMark,
    TurnPoint,
    TurnView,
    Verdict,
    point,
)
from homing.stats import bootstrap_mean
from homing.stats.estimate import Finding
from homing.stats.seeds import stable_seed

__all__ = ["conversation_views", "drift_view", "standing"]

SHOWN_PER_DOMAIN = 1


def _curve(conversations: Sequence[Mapping[str, Any]], arm: str, seed: int) -> tuple[TurnPoint, ...]:
    out: list[TurnPoint] = []
    runs = [c[arm]["turns"] for c in conversations if arm in c]
    for t in range(max((len(r) for r in runs), default=0)):
        values = [
            r[t]["position"] - r[t]["fresh"]
            for r in runs
            if t < len(r) and r[t]["position"] is not None and r[t]["fresh"] is not None
        ]
        if len(values) >= 2:
            out.append(TurnPoint(t + 1, bootstrap_mean(values, seed=stable_seed("curve", seed, arm, t))))
        elif values:
            out.append(TurnPoint(t + 1, point(float(values[0]))))
    return tuple(out)


def standing(hypothesis: Finding) -> Verdict:
    """How the hypothesis that was written before the run fell."""
    if hypothesis.regime == "not_measurable":
        return "not_measurable"
    return "shown" if "held" in hypothesis.verdict else "not_shown"


def drift_view(identity: Identity, found: Mapping[str, Finding]) -> Drift | Absent:
    """Drift by domain, and the hypothesis with its fall."""
    conversations = identity.section("drift").data["conversations"]
    if not conversations:
        return Absent("this preset replays no drift scripts; the shipped presets do")
    domains: list[DomainDrift] = []
    for domain in dict.fromkeys(c["domain"] for c in conversations):
        mine = [c for c in conversations if c["domain"] == domain]
        f = found.get(f"drift.{domain}")
        domains.append(
            DomainDrift(
                domain.replace("_", " "), len(mine), _curve(mine, "free", 0), _curve(mine, "twin", 0), _curve(mine, "held", 0),
                f.estimates.get("drift") if f else None, f.estimates.get("held") if f else None,
                f.estimates.get("over_neutral") if f else None,
            )
        )  # fmt: skip
    stated, f = load_hypothesis(), found.get("drift.hypothesis")
    hypothesis = None
    if f is not None:
        differences = tuple(
            Figure(
                f"drift.hypothesis.{k}", k.replace("_over_", " above ").replace("_", " "), "", f.estimates[k],
                "shown" if f.estimates[k].low > 0 else "not_shown", "", "+.2f",
            )
            for k in f.p_values
        )  # fmt: skip
        hypothesis = Hypothesis(stated.statement, stated.dated, standing(f), f.verdict or f.reason, differences)
    note = "Drift is the position in the conversation minus that of a reply to the same message in a fresh one."
    return Drift(tuple(domains), hypothesis, "drift", note)


def _turn(arm: Mapping[str, Any], t: int, scale: Scale) -> ArmTurn:
    turn = arm["turns"][t]
    replies = [m["content"] for m in arm["messages"] if m["role"] == "assistant"]
    position = None if turn["position"] is None else scale.position(turn["position"])
    drift = None
    if turn["position"] is not None and turn["fresh"] is not None:
        drift = scale.drift(turn["position"] - turn["fresh"])
    alarms = tuple(Alarm(a["detector"], a["statistic"], a["threshold"]) for a in arm["alarms"] if a["turn"] == t)
    pieces, moved = arm.get("pieces", []), arm.get("moved", [])
    marks: tuple[TokenMark, ...] = ()
    if t < len(moved) and t < len(pieces) and moved[t] and len(pieces[t]) == len(moved[t]):
        marks = tuple(TokenMark(p, float(m)) for p, m in zip(pieces[t], moved[t], strict=True))
    return ArmTurn(replies[t] if t < len(replies) else "", position, drift, alarms, marks)


def conversation_views(identity: Identity) -> tuple[ConversationView, ...] | Absent:
    """One conversation of each domain in full, those with most alarms first."""
    data = identity.section("drift").data
    scale = Scale.from_json(identity.section("persona").data["scale"])
    views: list[ConversationView] = []
    shown: dict[str, int] = {}
    # the conversation with the most alarms first, so that what an alarm looks like can be seen
    order = sorted(data["conversations"], key=lambda c: -len({a["turn"] for a in c["free"]["alarms"]}))
    calibration = Calibration.from_json(data["calibration"])
    for c in order:
        if shown.get(c["domain"], 0) >= SHOWN_PER_DOMAIN:
            continue
        shown[c["domain"]] = shown.get(c["domain"], 0) + 1
        users = [m["content"] for m in c["free"]["messages"] if m["role"] == "user"]
        turns = tuple(
            TurnView(t + 1, users[t], _turn(c["free"], t, scale), _turn(c["held"], t, scale) if "held" in c else None)
            for t in range(len(c["free"]["turns"]))
        )
        views.append(
            ConversationView(
                c["script"], c["title"], c["domain"].replace("_", " "), turns, "drift", _band(calibration, c["free"]["turns"]),
                "home conversations, mean and two standard deviations",
            )
        )  # fmt: skip
    return tuple(views) if views else Absent("this preset replays no drift scripts; the shipped presets do")


def _band(calibration: Calibration, turns: Sequence[Mapping[str, Any]]) -> tuple[Band, ...]:
    out: list[Band] = []
    for t, turn in enumerate(turns):
        means = calibration.standard.means
        mean, sd = means[min(t, len(means) - 1)], calibration.standard.spread(turn["tokens"])
        out.append(Band(t + 1, mean - 2 * sd, mean + 2 * sd))
    return tuple(out)
