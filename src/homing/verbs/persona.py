"""The first stage of a map: replies, read layer, judge, axis, card."""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import InputError
from homing.identity import Section
from homing.identity.work import WorkDir
from homing.models.base import ChatModel
from homing.models.completions import Completions
from homing.persona.axis import Axis
from homing.persona.card import Selection, filtered_cosine, measure, select_layer, tuning_rows
from homing.persona.judge import JudgedItem, JudgeGate, asked_scores, gate, in_role_scores, load_gold, rule_scores
from homing.persona.plan import opening
from homing.persona.rollouts import Replies, ask
from homing.persona.scale import Scale
from homing.persona.space import fit_axis, held_out, pcs, random_splits, role_vectors, split_cosines
from homing.stats import bootstrap_mean, rogan_gladen
from homing.stats.estimate import Estimate, Finding
from homing.stats.seeds import stable_seed
from homing.verbs.plan import MapPlan
from homing.verbs.progress import Progress

__all__ = ["Persona", "measure_persona", "persona_section"]

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Persona:
    """What the first stage found.

    Attributes:
        axis: over all replies. ``replies``: all of them. ``tune``: rows that chose the layer and report nothing.
        selection: the read layer and what tuning saw. ``card``: findings by name. ``gate``: of the judge, or None.
        kept: the judge's filter where it passed its gate, else None.
    """

    axis: Axis
    replies: Replies
    tune: Bools
    selection: Selection
    card: dict[str, Finding]
    gate: JudgeGate | None
    kept: Bools | None


async def measure_persona(model: ChatModel, plan: MapPlan, work: WorkDir, progress: Progress) -> Persona:
    """Ask every cell of the plan and measure the space."""
    progress.stage("asking home and the roles")
    enough = None if plan.precision is None else _stop_rule(plan.precision, plan.seed)
    replies = await ask(
        model,
        plan.design,
        work=work,
        layers=range(model.info.layers),
        advance=progress.advance,
        enough=enough,
    )
    progress.stage("choosing the read layer on tuning roles")
    tune = tuning_rows(replies, seed=plan.seed)
    selection = select_layer(replies, tune, seed=plan.seed)
    judged: JudgeGate | None = None
    kept: Bools | None = None
    scores = None
    if plan.judging != "none":
        progress.stage("judging: is each reply in its role?")
        judged, scores = await _judge(model, plan, replies, work, progress)
        if judged.passed:
            kept = np.where(replies.home, True, scores > judged.threshold)
    progress.stage("measuring the axis")
    card = measure(replies, selection, tune, seed=plan.seed)
    card |= _judge_findings(replies, selection, tune, judged, kept, plan)
    return Persona(fit_axis(replies, read_layer=selection.read_layer), replies, tune, selection, card, judged, kept)


def _stop_rule(precision: float, seed: int) -> Any:
    """Stop once the spread of split-half cosines over resamples of the tuning roles is under twice the precision."""

    def enough(replies: Replies) -> bool:
        rows = tuning_rows(replies, seed=seed)
        part = replies.take(rows)
        if not part.home.any() or part.home.all():
            return False
        middle = replies.means.shape[1] * 2 // 3
        at = replace(part, means=part.means[:, middle : middle + 1])
        try:
            boot = split_cosines(at, random_splits(at, 200, seed=stable_seed("stop", seed), bootstrap=True))[:, 0]
        except InputError:  # too few replies yet to cut in two: nothing is known, so go on
            return False
        low, high = np.percentile(boot, [2.5, 97.5])
        return float(high - low) <= 2 * precision

    return enough


async def _judge(
    model: ChatModel, plan: MapPlan, replies: Replies, work: WorkDir, progress: Progress
) -> tuple[JudgeGate, NDArray[np.float64]]:
    design = plan.design
    roles = {r.id: r for r in design.roles}
    gold = [g for g in load_gold() if g.role in roles]
    rows = np.flatnonzero(~replies.home)
    asked = [
        (
            design.roles[replies.role[i]],
            int(replies.prompt[i]),
            design.questions[replies.question[i]].text,
            replies.texts[i],
        )
        for i in rows
    ]

    async def score(items: list[JudgedItem], name: str) -> NDArray[np.float64]:
        if plan.judging == "rules":
            return rule_scores(items)
        if "://" in plan.judge:
            judge = Completions(plan.judge, plan.judge_model, os.environ.get("HOMING_JUDGE_KEY", ""))
            asked = f"{name}-{stable_seed(plan.judging):x}"  # another judge's answers stand apart
            return await asked_scores(judge.ask, items, work=work, name=asked, advance=progress.advance)
        return await in_role_scores(
            model,
            items,
            pool=design.roles,
            home=opening(design.homes[0]),
            work=work,
            name=name,
            seed=plan.seed,
            advance=progress.advance,
        )

    judged = gate(await score([(roles[g.role], 0, g.question, g.reply) for g in gold], "gold"), gold, seed=plan.seed)
    scores = np.full(len(replies), np.inf)
    scores[rows] = await score(asked, "judge")
    return judged, scores


def _judge_findings(
    replies: Replies, selection: Selection, tune: Bools, judged: JudgeGate | None, kept: Bools | None, plan: MapPlan
) -> dict[str, Finding]:
    seed, judge = plan.seed, plan.judging
    if judged is None:
        reason = "no judge was run, so nothing is filtered"
        return {"judge.balanced_accuracy": Finding("judge.balanced_accuracy", {}, "not_measurable", reason)}
    out = {
        "judge.balanced_accuracy": Finding(
            "judge.balanced_accuracy",
            {"value": judged.balanced_accuracy, "agreement": judged.agreement},
            verdict=(
                f"The judge ({judge}) reaches a balanced accuracy of {judged.balanced_accuracy.value:.2f} on the held-out"
                f" half of the gold set; labellers agree on {judged.agreement.value:.0%} (kappa {judged.kappa:.2f}). "
                + (
                    "It passes, and the filtered figures stand beside."
                    if judged.passed
                    else "It does not pass; no filter is used."
                )
            ),
        )
    }
    if kept is None:
        return out
    role_rows = ~replies.home
    share = float(kept[role_rows].mean())
    n = len(np.unique(replies.role[role_rows]))
    seen = _kept_share(replies, kept, seed)
    out["judge.kept"] = Finding(
        "judge.kept",
        {"value": seen, "true": rogan_gladen(seen, judged.sensitivity, judged.specificity)},
        verdict=f"The judge keeps {share:.0%} of the role replies and drops {int((~kept[role_rows]).sum())}.",
    )
    layer = replies.layers.index(selection.read_layer)
    try:
        filtered = measure(replies, selection, tune, seed=seed, kept=kept)
    except InputError as e:
        out["filtered.split_half"] = Finding("filtered.split_half", {}, "not_measurable", str(e))
        return out
    for name in ("axis.split_half_raw", "axis.split_half", "axis.auroc_one", "axis.auroc_three", "axis.cos_pc1"):
        f = filtered[name]
        out[f"filtered.{name.removeprefix('axis.')}"] = Finding(
            f"filtered.{name.removeprefix('axis.')}",
            f.estimates,
            f.regime,
            f.reason,
            f"With the judge's filter: {f.verdict}",
        )
    cos = filtered_cosine(replies, kept, layer)
    out["filtered.cosine"] = Finding(
        "filtered.cosine",
        {"value": Estimate(cos, cos, cos, 0.95, n, "", "of the two axes of this map; no sampling")},
        verdict=f"The axis with the filter and the one without have cosine {cos:.2f}.",
    )
    return out


def _kept_share(replies: Replies, kept: Bools, seed: int) -> Estimate:
    """Share of role replies that pass, with roles as the units: some roles are kept whole and others hardly at all."""
    rows = ~replies.home
    return bootstrap_mean(
        kept[rows].astype(np.float64), clusters=replies.role[rows], seed=stable_seed("judge kept", seed)
    )


def persona_section(persona: Persona, plan: MapPlan) -> Section:
    """The section ``persona`` of an identity. Positions by the reader; ``along``: on the axis itself, which two maps share."""
    replies, axis = persona.replies, persona.axis
    home, roles, counts = role_vectors(replies)
    layer = replies.layers.index(axis.read_layer)
    components, shares = pcs(roles[counts > 0, layer])
    apart = held_out(replies, read_layer=axis.read_layer)
    positions = axis.reader.positions(apart.reader)
    along = (apart.axis[:, layer] - axis.zero[layer]) / axis.unit[layer]
    second = (roles[:, layer] - roles[counts > 0, layer].mean(axis=0)) @ components[1]
    home_second = float((home[layer] - roles[counts > 0, layer].mean(axis=0)) @ components[1])
    scale = float(np.nanstd(second)) or 1.0
    data: dict[str, Any] = {
        "axis": axis.to_json(),
        "home": [h.digest for h in plan.design.homes],
        "home_system": plan.design.homes[0].system,
        "home_messages": [list(m) for m in plan.design.homes[0].messages],
        "roles": [
            {
                "id": r.id,
                "name": r.name,
                "kind": r.kind,
                "replies": int(c),
                "kept": None if persona.kept is None else int(persona.kept[replies.role == i].sum()),
                "position": float(positions[replies.role == i].mean()) if c else None,
                "se": _error_of_mean(positions[replies.role == i]),
                "along": float(along[replies.role == i].mean()) if c else None,
                "along_se": _error_of_mean(along[replies.role == i]),
                "second": None if not c else float(second[i]) / scale,
            }
            for i, (r, c) in enumerate(zip(plan.design.roles, counts, strict=False))
        ],
        "home_second": home_second / scale,
        "scale": Scale.of(replies, positions).to_json(),
        "scale_along": Scale.of(replies, along).to_json(),
        "home_replies": int(replies.home.sum()),
        "variance": [float(s) for s in shares[:20]],
        "selection": {
            "read_layer": persona.selection.read_layer,
            "layers": [f.to_json() for f in persona.selection.layers],
            "barred_roles": [plan.design.roles[i].id for i in persona.selection.barred],
        },
        "card": {k: f.to_json() for k, f in persona.card.items()},
        "judge": None if persona.gate is None else persona.gate.to_json(),
        "home_raw_quantiles": {
            str(q): [float(v) for v in np.quantile(axis.raw(replies.means[replies.home]), q, axis=0)]
            for q in (0.05, 0.25, 0.5, 0.75, 0.95)
        },
        "sampled": plan.design.to_json(),
    }
    arrays = {
        "axis": axis.vectors,
        "reader": axis.reader.vector,
        "home": home,
        "roles": np.nan_to_num(roles),
        "components": components[:32].astype(np.float32),
    }
    return Section(2, data, arrays)


def _error_of_mean(positions: NDArray[np.float64]) -> float | None:
    """Standard error of the mean of one role's replies; None where one reply has no spread."""
    return float(positions.std(ddof=1) / np.sqrt(len(positions))) if len(positions) > 1 else None
