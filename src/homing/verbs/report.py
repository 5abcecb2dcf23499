"""report: turn an identity into the one page that a stranger reads."""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs]

from homing.drift.calibration import Calibration
from homing.identity import Identity
from homing.persona.scale import Scale
from homing.report import write
from homing.report.model import (
    Absent,
    Alarms,
    AxisLayers,
    CapEffect,
    Card,
    Figure,
    Headline,
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
    Verdict,
    point,
)
from homing.stats.estimate import Estimate, Finding
from homing.verbs.card import findings_of, measured
from homing.verbs.report_concept import concept_view
from homing.verbs.report_talks import conversation_views, drift_view, standing
from homing.verbs.verdicts import RATE, primary_tests

__all__ = ["report_data", "write_report"]

MEANING: Mapping[str, tuple[str, str]] = {
    "axis.split_half_raw": (
        "Agreement of two halves",
        "Cosine of two axes made from halves that share no role, question, home prompt or reply.",
    ),
    "axis.split_half": ("Reliability of the axis", "The same, stepped up to the whole sample by Spearman-Brown."),
    "axis.auroc_one": (
        "One reply: home or a role?",
        "Chance that a home reply reads above a role's reply; 0.5 is guessing.",
    ),
    "axis.auroc_three": ("Three replies: home or a role?", "The same for the mean of three replies of one speaker."),
    "axis.auroc_predicted_one": (
        "Predicted for one reply",
        "From the variance components alone; the measured figure should lie inside.",
    ),
    "axis.auroc_predicted_three": ("Predicted for three replies", "From the variance components alone."),
    "axis.auroc_ceiling": ("Ceiling", "What unlimited replies could reach: home sits among the roles."),
    "axis.auroc_axis": (
        "Along the axis itself",
        "One reply again, read along the difference of means that the cap acts along, instead of with the reader.",
    ),
    "axis.auroc_linear": (
        "A linear classifier instead",
        "Shrunk less than the reader, fitted on the same halves: what the reader gives away to be steady.",
    ),
    "axis.linear_agreement": (
        "Agreement of the classifier",
        "Cosine of classifiers from the same disjoint halves: how far what it reads is the same thing in both.",
    ),
    "axis.auroc_length_adjusted": ("With length taken out", "One reply, after what reply length explains is removed."),
    "axis.auroc_without_refusals": (
        "Without refusals",
        "One reply, leaving out replies that refuse or say they are an AI.",
    ),
    "axis.home_percentile": (
        "Roles below home",
        "Share of roles below home, the noise of their few replies taken out.",
    ),
    "axis.cos_pc1": ("Axis and first component", "Cosine of the axis with the main way in which roles differ."),
    "axis.pc1_share": ("First component", "Share of the variance between roles."),
    "axis.pcs_70": ("Components for 70%", "How many dimensions hold 70% of the variance between roles."),
    "axis.pcs_beyond_noise": ("Components beyond noise", "More than permuted data would show."),
    "control.auroc_random": (
        "A random direction",
        "The same figure for directions without meaning, each with its better side.",
    ),
    "control.split_half_shuffled": ("Relabelled roles", "Agreement of halves when roles are called home at random."),
    "confound.length_auroc": ("Length alone", "How well reply length tells home from a role; 0.5: not at all."),
    "judge.balanced_accuracy": (
        "The judge",
        "Balanced accuracy of the likelihood judge on the held-out half of its gold set.",
    ),
    "judge.kept": ("Replies in role", "Share of role replies that the judge takes to be in role."),
    "filtered.split_half_raw": ("Agreement, judged replies only", "As above, the axis made from replies in role."),
    "filtered.split_half": ("Reliability, judged replies only", "Stepped up."),
    "filtered.auroc_one": ("One reply, judged axis", "Scored on all held-out replies."),
    "filtered.auroc_three": ("Three replies, judged axis", "Scored on all held-out replies."),
    "filtered.cos_pc1": ("First component, judged replies only", "Cosine with the axis."),
    "filtered.cosine": ("Axis with and without the judge", "Cosine of the two."),
    "concept.questions": (
        "One home over kinds of questions?",
        "Cosine of home's directions in two kinds, noise taken out, in the mean; 1 is one direction.",
    ),
    "concept.roles": (
        "One home over families of roles?",
        "The same against two families of roles.",
    ),
}
PERCENT = frozenset({"axis.home_percentile", "axis.pc1_share", "judge.kept"})
COUNTS = frozenset({"axis.pcs_70", "axis.pcs_beyond_noise"})


def write_report(identity_dir: Path | str, out: Path | str) -> Path:
    """Write the page of an identity.

    Raises:
        HomingError: the identity cannot be read, or the page cannot be written.
    """
    return write(report_data(Identity.load(identity_dir)), Path(out))


def report_data(identity: Identity) -> ReportData:
    """Everything the page shows, from the sections of an identity."""
    found = findings_of(identity)
    model = str(identity.model["name"])
    persona = identity.section("persona").data
    system = persona["home_system"]
    home = (
        "the plain Assistant, without a system prompt" if system is None else f"the system prompt \u201c{system}\u201d"
    )
    if len(persona["home"]) > 1:
        home = f"the plain Assistant, under {len(persona['home'])} plain prompts"
    return ReportData(
        model=model,
        created=str(identity.volatile.get("created", "not recorded")),
        home=home,
        lead=(
            "Where this model stands when it is itself, how far scripted conversations pull it away,"
            " and what holding it changes."
        ),
        headlines=_headlines(identity, found),
        persona_map=_map(identity, found),
        layers=_layers(identity),
        card=_card(found),
        drift=drift_view(identity, found),
        conversations=conversation_views(identity),
        cap=_cap(identity, found),
        alarms=_alarms(identity, found),
        tests=_tests(found),
        provenance=_provenance(identity, found),
        concept=concept_view(identity),
    )


def _headlines(identity: Identity, found: Mapping[str, Finding]) -> tuple[Headline, ...]:
    out: list[Headline] = []
    rel = measured(found, "axis.split_half")
    if rel is not None:
        out.append(
            Headline(
                "One axis",
                f"How far disjoint halves of the data agree on the axis between {rel.n} roles and home; 1 is wholly.",
                rel,
            )
        )
    one, ceiling = measured(found, "axis.auroc_three"), measured(found, "axis.auroc_ceiling")
    if one is not None and ceiling is not None:
        out.append(
            Headline(
                "Home can be told",
                f"Three replies tell home from a role so often; endless ones could reach {ceiling.value:.2f} (0.5 is guessing).",
                one,
            )
        )
    gap = found.get("drift.hypothesis")
    if gap is not None:
        e = measured(found, "drift.hypothesis")
        told = "Written down before the run: coding and writing stay nearer home than emotional talk and talk about itself. "
        out.append(
            Headline(
                "Drift by topic", told + (gap.verdict or f"Not measurable: {gap.reason}."), e, standing(gap), "+.2f"
            )
        )
    lift, clear = found.get("cap.lift"), bool(identity.section("cap").data["proof"]["clear"])
    if lift is not None and lift.regime == "measured":
        out.append(
            Headline(
                "What the cap does", lift.verdict, lift.estimates["lift"], "shown" if clear else "not_shown", "+.2f"
            )
        )
    price = found.get("cap.price")
    if price is not None:
        e = measured(found, "cap.price")
        out.append(Headline("Its price", price.verdict, e, "measured" if e else "not_measurable", "+.2f"))
    calibration = Calibration.from_json(identity.section("drift").data["calibration"])
    rate = measured(found, "alarm.rate")
    sentence = calibration.sentence[0].upper() + calibration.sentence[1:] + "."
    out.append(Headline("False alarms", sentence, rate, "measured" if rate else "not_measurable", ".1%"))
    return tuple(out)


def _map(identity: Identity, found: Mapping[str, Finding]) -> PersonaMap | Absent:
    data = identity.section("persona").data
    scale = Scale.from_json(data["scale"])
    roles: list[RolePoint] = []
    for r in data["roles"]:
        if r["position"] is None:
            continue
        se = r["se"] or 0.0
        # a role has a handful of replies: Student's t, or the interval would hold its position too seldom
        half = (float(stdtrit(r["replies"] - 1, 0.975)) if r["replies"] > 1 else 0.0) * se
        p = Estimate(
            r["position"],
            r["position"] - half,
            r["position"] + half,
            0.95,
            r["replies"],
            "",
            "over replies, Student's t",
        )
        roles.append(RolePoint(r["name"], r["kind"], p, r["second"], r["replies"], r.get("kept")))
    percentile = measured(found, "axis.home_percentile")
    if percentile is None:
        return Absent("home's percentile among the roles could not be measured")
    return PersonaMap(
        layer=data["axis"]["read_layer"],
        roles=tuple(roles),
        home_position=scale.position(1.0),
        home_second=data["home_second"],
        home_percentile=percentile,
        first_share=measured(found, "axis.pc1_share"),
    )


def _layers(identity: Identity) -> AxisLayers:
    data = identity.section("persona").data
    acts = tuple(identity.section("cap").data["cap"]["layers"]) if "cap" in identity.sections else ()
    barred = len(data["selection"]["barred_roles"])

    def row(seen: list[Any] | dict[str, Any]) -> LayerRow:
        if isinstance(seen, list):  # version 1 of the section kept values alone
            layer, *values = seen
            how = f"tuning half only ({barred} roles), no interval"
            return LayerRow(layer, *(point(v, n=barred, method=how) for v in values))
        return LayerRow(seen["layer"], Estimate.from_json(seen["split_half"]), Estimate.from_json(seen["auroc"]))

    rows = tuple(row(seen) for seen in data["selection"]["layers"])
    note = (
        "These figures chose the read layer, on roles that report nothing else; the card's figures come from the rest."
    )
    return AxisLayers(rows, data["axis"]["read_layer"], acts, note)


def _card(found: Mapping[str, Finding]) -> Card:
    figures: list[Figure] = []
    for name, (label, meaning) in MEANING.items():
        f = found.get(name)
        if f is None:
            continue
        e = measured(found, name)
        if name.startswith("concept.") and f.verdict:
            meaning += f" Found: {f.verdict.partition(':')[0]}."
        spec = ".0%" if name in PERCENT else ".0f" if name in COUNTS else ".2f"
        if e is None:
            figures.append(Figure(name, label, meaning, None, "not_measurable", f.reason, spec))
        else:
            figures.append(Figure(name, label, meaning, e, "measured", "", spec))
    refusals: list[Refusal] = []
    percentile = found.get("axis.home_percentile")
    if percentile is not None and "refused" in percentile.verdict:
        refusals.append(Refusal("Home is extreme among the roles", percentile.verdict))
    refusals.append(
        Refusal(
            "A position near home means that a reply is safe",
            "the axis reads manner, not values: a harmful reply in the usual manner stands at home",
        )
    )
    return Card(tuple(figures), tuple(refusals))


def _cap(identity: Identity, found: Mapping[str, Finding]) -> CapEffect | Absent:
    if "cap" not in identity.sections:
        return Absent("no cap was tuned")
    data = identity.section("cap").data
    lift = found["cap.lift"]
    if lift.regime == "not_measurable":
        return Absent(f"the cap's lift is not measurable: {lift.reason}")
    lifts = [Lift("the axis", "cap", lift.estimates["lift"])]
    for kind in data["proof"]["controls"]:
        matched = data["proof"]["matched"][kind]
        engaged = np.mean([m["engaged"] for m in matched])
        edit = np.mean([m["edit"] for m in matched]) / matched[0]["edit_cap"]
        note = f"{len(matched)} directions; engaged {engaged:.0%} of tokens and layers, the cap {matched[0]['engaged_cap']:.0%};"
        note += f" moved them {edit:.2f} times as far"
        lifts.append(Lift(kind, "control", lift.estimates[f"lift_{kind}"], note))
    best, cap = data["tuning"]["best"], data["cap"]
    settings = (
        Row("acts on layers", f"{cap['layers'][0]} to {cap['layers'][-1]}"),
        Row("raises to", f"the {best['quantile']:.0%} quantile of home"),
        Row("chosen among", f"{len(data['tuning']['tried'])} settings, on the tuning half of the prompts"),
    )
    price: list[PriceRow] = []
    for name, raw in data["price"].items():
        f = Finding.from_json(raw)
        family = "all families" if name == "cap.price" else name.removeprefix("cap.price.")
        verdict: Verdict = "not_measurable" if f.regime == "not_measurable" else "measured"
        price.append(
            PriceRow(family, f.estimates.get("accuracy"), f.estimates.get("logprob"), verdict, f.reason or f.verdict)
        )
    whole = found.get("cap.price")
    engaged = data["proof"]["engaged"].get("cap", [math.nan])[0]
    return CapEffect(
        tuple(lifts),
        "shown" if data["proof"]["clear"] else "not_shown",
        lift.verdict,
        settings,
        point(engaged, n=lift.estimates["lift"].n, method="log of the engine") if math.isfinite(engaged) else None,
        tuple(price),
        0.03,
        "measured" if whole is not None and whole.regime == "measured" else "not_measurable",
        "" if whole is None else whole.verdict,
    )


def _alarms(identity: Identity, found: Mapping[str, Finding]) -> Alarms:
    c = Calibration.from_json(identity.section("drift").data["calibration"])
    f = found["alarm.rate"]
    rate = measured(found, "alarm.rate")
    longest = max(
        (len(k["free"]["turns"]) for k in identity.section("drift").data["conversations"] if "free" in k), default=0
    )
    beyond = ""
    if longest > c.max_turns:
        beyond = (
            f" The scripted conversations go on for {longest} turns: what is marked after turn {c.max_turns}"
            " lies outside this promise."
        )
    return Alarms(
        promise=c.promise.alpha,
        level=c.promise.confidence,
        turns=c.max_turns,
        calibration=c.conversations,
        context=c.context,
        how="EWMA and CUSUM share one threshold: an order statistic of the largest value in each home conversation."
        + "".join(
            f" {found[k].verdict}" for k in ("alarm.turns_between", "alarm.delay") if k in found and found[k].verdict
        ),
        rate=rate,
        verdict="measured" if rate is not None else "not_measurable",
        conclusion=(f.verdict or f"{f.reason[0].upper()}{f.reason[1:]}.") + beyond,
        uncalibrated=c.sentence if c.uncalibrated else "",
    )


def _tests(found: Mapping[str, Finding]) -> Tests | Absent:
    rows = tuple(
        TestRow(
            f"{t.finding}: {t.estimate.replace('_', ' ')}", t.figure, t.p_value, t.adjusted,
            "shown" if t.shown else "not_shown",
        )
        for t in primary_tests(found)
    )  # fmt: skip
    return Tests(rows, RATE) if rows else Absent("nothing in it was tested against zero")


def _provenance(identity: Identity, found: Mapping[str, Finding]) -> Provenance:
    p = identity.section("provenance").data if "provenance" in identity.sections else {"runtime": {}, "plan": {}}
    plan = p["plan"]
    sampled = plan.get("design", {})
    return Provenance(
        versions=tuple(Row(k, str(v)) for k, v in p["runtime"].items()),
        seeds=(Row("seed of the map", str(plan.get("seed", "?"))),),
        hashes=(
            Row("identity", identity.digest),
            Row("model and weights", str(identity.model["fingerprint"])),
            Row("roles and questions", str(sampled.get("content", "?"))),
            *(Row(f"section {k}", s.digest) for k, s in identity.sections.items()),
        ),
        plan=(
            Row("preset", str(plan.get("preset_name", "?"))),
            Row("replies of the map", str(sampled.get("cells", "?"))),
            Row("roles, questions", f"{len(sampled.get('roles', []))}, {len(sampled.get('questions', []))}"),
            Row("weights in memory", f"{identity.model['dtype']} on {identity.model['engine']}"),
        ),
        times=tuple(Row(k, f"{v:.0f} s") for k, v in identity.volatile.get("seconds", {}).items()),
        not_measured=tuple(Row(k, f.reason) for k, f in found.items() if f.regime == "not_measurable"),
    )
