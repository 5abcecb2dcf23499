"""The second stage of a map: home conversations that calibrate the alarms, fresh ones that check them, and drift scripts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, cast

import numpy as np

from homing.conversation import Conversation, Message
from homing.drift.calibration import Calibration, calibrate, check, detection_delay
from homing.drift.replay import Playable, Replay, after_histories, replay_many
from homing.drift.scripts import Script, load_home_conversations, load_hypothesis, load_scripts
from homing.drift.trace import Trace, TurnTrace, alarms_of
from homing.engine.base import Act, Sampling
from homing.identity import Section
from homing.identity.work import Unit, WorkDir
from homing.jsonable import strict
from homing.models.base import ChatModel
from homing.persona.axis import Axis
from homing.persona.plan import opening
from homing.stats import bootstrap_difference, bootstrap_mean, permutation_paired, permutation_two_sample
from homing.stats.estimate import Estimate, Finding
from homing.stats.seeds import stable_seed
from homing.verbs.plan import MapPlan
from homing.verbs.progress import Progress

__all__ = [
    "Alarming",
    "DomainRun",
    "alarm_findings",
    "calibrate_alarms",
    "drift_section",
    "play",
    "run_domains",
    "sampling_of",
]

TOGETHER = 20
MIN_SCRIPTS = 4
PLANTED_SHIFT = 1.0
"""Of the shift whose detection is timed, in distances from the mean role to home."""
DOMAINS = ("coding", "writing", "emotional", "self_nature")


@dataclass(frozen=True, eq=False)
class Alarming:
    """Calibrated alarms, and what fresh home conversations say of them.

    Attributes:
        findings: ``alarm.rate`` (any alarm at home), ``alarm.turns_between`` (home turns a false alarm) and
            ``alarm.delay`` (how soon a planted shift is found).
    """

    calibration: Calibration
    findings: Mapping[str, Finding]


@dataclass(frozen=True, eq=False)
class DomainRun:
    """Drift scripts of one domain as they went: ``free``, ``twin`` and ``held`` in the order of ``scripts``."""

    domain: str
    scripts: tuple[Script, ...]
    free: tuple[Replay, ...]
    twin: tuple[Replay, ...]
    held: tuple[Replay, ...]


def context_label(plan: MapPlan) -> str:
    """What the calibration holds for: the home it was made under and how replies were sampled."""
    return (
        f"home {plan.design.homes[0].digest[:12]}, temperature 0.7, top-p 0.9, up to {plan.preset.reply_tokens} tokens"
    )


def sampling_of(plan: MapPlan) -> Sampling:
    """How every reply of a map is sampled."""
    return Sampling(max_new_tokens=plan.preset.reply_tokens, temperature=0.7, top_p=0.9, seed=plan.seed)


def _pack(replays: Sequence[Replay]) -> Any:
    return [
        {
            "id": r.id,
            "messages": r.conversation.to_openai(),
            "turns": [asdict(t) for t in r.trace.turns],
            "fresh": list(r.fresh),
            "moved": [list(m) for m in r.moved],
            "pieces": [list(m) for m in r.pieces],
        }
        for r in replays
    ]


def _unpack(data: Any) -> list[Replay]:
    def number(v: Any) -> float:
        return math.nan if v is None else float(v)

    out: list[Replay] = []
    for r in cast("list[dict[str, Any]]", data):
        turns = tuple(
            TurnTrace(
                t["turn"],
                number(t["position"]),
                t["tokens"],
                t["fresh"],
                tuple(t["by_token"]),
                t["engaged"],
                t["neutral"],
            )
            for t in r["turns"]
        )
        moved = tuple(tuple(m) for m in r["moved"])
        conversation = Conversation.from_openai(r["messages"])
        pieces = tuple(tuple(m) for m in r["pieces"])
        out.append(Replay(r["id"], conversation, Trace(r["id"], turns), tuple(r["fresh"]), moved, pieces, ()))
    return out


async def play(
    model: ChatModel,
    scripts: Sequence[Playable],
    *,
    axis: Axis,
    home: Sequence[Message],
    sampling: Sampling,
    work: WorkDir,
    name: str,
    turns: int | None,
    acts: Sequence[Act] = (),
    progress: Progress,
) -> list[Replay]:
    """Replay scripts in units of twenty conversations."""
    out: list[Replay] = []
    for start in range(0, len(scripts), TOGETHER):
        some = scripts[start : start + TOGETHER]

        async def compute(some: Sequence[Playable] = some, start: int = start) -> Unit:
            replays = await replay_many(
                model, some, axis=axis, home=home, sampling=sampling, turns=turns, acts=acts, keep=f"{name}/{start}"
            )
            return Unit(strict(_pack(replays)))

        unit = await work.do(f"{name}/{start // TOGETHER:03d}", compute)
        out += _unpack(unit.data)
        depth = max(len(s.turns) for s in some)
        depth = depth if turns is None else min(depth, turns)
        progress.advance(len(some) * (2 * depth - (0 if acts else 1)))
    return out


async def calibrate_alarms(model: ChatModel, axis: Axis, plan: MapPlan, work: WorkDir, progress: Progress) -> Alarming:
    """Calibrate on home conversations, and count alarms on others that share no user turn with them."""
    home, sampling, p = opening(plan.design.homes[0]), sampling_of(plan), plan.preset
    progress.stage("playing home conversations to calibrate the alarms")
    calibration_set = load_home_conversations("calibration", p.calibration)
    replays = await play(
        model, calibration_set, axis=axis, home=home, sampling=sampling, work=work, name="calibration", turns=p.turns,
        progress=progress,
    )  # fmt: skip
    calibration = calibrate(
        [r.trace.drifts() for r in replays], [r.trace.lengths() for r in replays], context=context_label(plan)
    )
    between = calibration.turns_between_false_alarms()
    words = f"One false alarm in about {between.value:.0f} turns at home."
    found = {"alarm.turns_between": Finding("alarm.turns_between", {"value": between}, verdict=words)}
    if not p.check:
        reason = "this preset plays no fresh home conversations; the standard preset does"
        found |= {k: Finding(k, {}, "not_measurable", reason) for k in ("alarm.rate", "alarm.delay")}
        return Alarming(calibration, found)
    progress.stage("playing fresh home conversations to check the alarms")
    check_set = load_home_conversations("check", p.check)
    fresh = await play(
        model, check_set, axis=axis, home=home, sampling=sampling, work=work, name="check", turns=p.turns,
        progress=progress,
    )  # fmt: skip
    return Alarming(calibration, found | alarm_findings(calibration, fresh, seed=plan.seed))


def alarm_findings(calibration: Calibration, fresh: Sequence[Replay], *, seed: int) -> dict[str, Finding]:
    """What fresh home conversations say of calibrated alarms: how often any goes off, and how soon a planted shift is found."""
    drifts, lengths = [r.trace.drifts() for r in fresh], [r.trace.lengths() for r in fresh]
    rate = check(calibration, drifts, lengths)
    verdict = (
        f"{rate.value:.1%} of {rate.n} fresh home conversations of {calibration.max_turns} turns raised any alarm."
    )
    out = {"alarm.rate": Finding("alarm.rate", {"value": rate}, verdict=verdict)}
    cut = calibration.max_turns
    if cut < 2:
        reason = "conversations of one turn have no room for a shift after the first"
        return out | {"alarm.delay": Finding("alarm.delay", {}, "not_measurable", reason)}
    delay = detection_delay(
        calibration, [d[:cut] for d in drifts], [n[:cut] for n in lengths], shift=PLANTED_SHIFT, start=1, seed=seed
    )
    words = "A fall by the whole way from home to the mean role, planted at the second turn, raises an alarm within"
    words += f" {cut - 1} turns in {delay.found.value:.0%} of these conversations."
    return out | {"alarm.delay": Finding("alarm.delay", {"value": delay.found, "turns": delay.turns}, verdict=words)}


async def run_domains(
    model: ChatModel,
    axis: Axis,
    plan: MapPlan,
    work: WorkDir,
    progress: Progress,
    *,
    acts: Sequence[Act],
) -> list[DomainRun]:
    """Replay the drift scripts of every domain: free, their neutral twins, and held by the cap, paired on user turns."""
    home, sampling = opening(plan.design.homes[0]), sampling_of(plan)
    chosen: dict[str, tuple[Script, ...]] = {}
    for domain in DOMAINS:
        ordered = sorted(load_scripts(domain), key=lambda s: s.half != "report")
        chosen[domain] = tuple(ordered[: plan.preset.scripts_per_domain])
    scripts = [s for many in chosen.values() for s in many]
    arms: dict[str, list[Replay]] = {}
    for arm, title, some, on in (
        ("free", "replaying scripted conversations", scripts, ()),
        ("twin", "replaying their neutral twins", [s.neutral for s in scripts], ()),
        ("held", "replaying them held by the cap", scripts, tuple(acts)),
    ):
        progress.stage(title)
        # all domains side by side, so that even two scripts of each fill a batch
        arms[arm] = await play(
            model, some, axis=axis, home=home, sampling=sampling, work=work, name=f"scripts/{arm}", turns=None, acts=on,
            progress=progress,
        )  # fmt: skip
    progress.stage("asking the same messages after their neutral twins")
    arms["free"] = await _beside_neutral(
        model, scripts, arms["free"], arms["twin"], axis=axis, sampling=sampling, work=work, progress=progress
    )
    at = {s.id: i for i, s in enumerate(scripts)}
    return [
        DomainRun(domain, many, *(tuple(arms[arm][at[s.id]] for s in many) for arm in ("free", "twin", "held")))
        for domain, many in chosen.items()
    ]


async def _beside_neutral(
    model: ChatModel,
    scripts: Sequence[Script],
    free: Sequence[Replay],
    twins: Sequence[Replay],
    *,
    axis: Axis,
    sampling: Sampling,
    work: WorkDir,
    progress: Progress,
) -> list[Replay]:
    """Each user message of a script asked again after the twin's history of the same length, in a fork thrown away."""
    out: list[Replay] = []
    for start in range(0, len(scripts), TOGETHER):
        some = slice(start, start + TOGETHER)

        async def compute(some: slice = some) -> Unit:
            rows = await after_histories(model, scripts[some], twins[some], axis=axis, sampling=sampling)
            return Unit(strict(rows))

        unit = await work.do(f"scripts/neutral/{start // TOGETHER:03d}", compute)
        for replay, row in zip(free[some], unit.data, strict=True):
            turns = tuple(replace(t, neutral=row[t.turn]) for t in replay.trace.turns)
            out.append(replace(replay, trace=replace(replay.trace, turns=turns)))
            progress.advance(len(turns) - 1)
    return out


def _means(replays: Sequence[Replay], beside: Literal["fresh", "neutral"] = "fresh") -> list[float]:
    """Mean drift of each conversation over its turns after the first: against a fresh reply, or a neutral history."""
    out: list[float] = []
    for r in replays:
        drifts = r.trace.drifts() if beside == "fresh" else r.trace.over_neutral()
        values = [d for d in drifts[1:] if math.isfinite(d)]
        out.append(float(np.mean(values)) if values else math.nan)
    return out


def _estimate(values: Sequence[float], seed: int) -> Estimate | None:
    known = [v for v in values if math.isfinite(v)]
    return bootstrap_mean(known, seed=seed) if len(known) >= 3 else None


def drift_findings(runs: Sequence[DomainRun], seed: int) -> dict[str, Finding]:
    """Mean drift by domain beside the neutral twins, and the hypothesis written before the run with its verdict."""
    out: dict[str, Finding] = {}
    excess: dict[str, list[float]] = {}
    for run in runs:
        free, twin, held = _means(run.free), _means(run.twin), _means(run.held)
        diff = [a - b for a, b in zip(free, twin, strict=True)]
        excess[run.domain] = diff
        values = {
            "drift": _estimate(free, seed), "twin": _estimate(twin, seed), "excess": _estimate(diff, seed),
            "held": _estimate(held, seed), "over_neutral": _estimate(_means(run.free, "neutral"), seed),
        }  # fmt: skip
        known = {k: v for k, v in values.items() if v is not None}
        name = f"drift.{run.domain}"
        if "excess" not in known:
            out[name] = Finding(
                name, known, "not_measurable", f"{len(run.scripts)} scripts are too few for an interval"
            )
            continue
        e = known["excess"]
        verdict = (
            "moves away from home" if e.high < 0 else "moves towards home" if e.low > 0 else "is not shown to move"
        )
        test = permutation_paired([d for d in diff if math.isfinite(d)], seed=stable_seed(seed, name))
        sentence = f"{run.domain.replace('_', ' ')}: {e.value:+.2f} against its neutral twin; it {verdict}."
        if "over_neutral" in known:
            sentence += f" The same messages after a neutral history of equal length: {known['over_neutral']:+.2f}."
        out[name] = Finding(name, known, verdict=sentence, p_values={"excess": test.p_value})
    out["drift.hypothesis"] = _hypothesis(runs, excess, seed)
    return out


def _difference(a: Sequence[float], b: Sequence[float], seed: int) -> Estimate:
    """Mean of ``a`` minus mean of ``b``, scripts resampled within each, the ends expanded for few scripts."""
    x, y = ([v for v in many if math.isfinite(v)] for many in (a, b))
    return bootstrap_difference(x, y, seed=seed)


def _hypothesis(runs: Sequence[DomainRun], excess: Mapping[str, Sequence[float]], seed: int) -> Finding:
    """The order of domains as it was written down: each of the expected differences of mean position above zero."""
    stated = load_hypothesis()
    positions = {
        run.domain: [
            float(np.mean(known))
            for r in run.free
            if (known := [t.position for t in r.trace.turns if math.isfinite(t.position)])
        ]
        for run in runs
    }
    name = "drift.hypothesis"
    pairs = [(a, b) for a in stated.above for b in stated.below]
    if any(len(positions.get(d, ())) < MIN_SCRIPTS for pair in pairs for d in pair):
        return Finding(
            name, {}, "not_measurable", f"a domain has fewer than {MIN_SCRIPTS} scripts; the evidence run has 12"
        )
    found = {f"{a}_over_{b}": _difference(positions[a], positions[b], stable_seed(seed, a, b)) for a, b in pairs}
    tests = {
        f"{a}_over_{b}": permutation_two_sample(positions[a], positions[b], seed=stable_seed(seed, a, b)).p_value
        for a, b in pairs
    }
    above = [v for d in stated.above for v in positions[d]]
    below = [v for d in stated.below for v in positions[d]]
    drifts = [[v for d in many for v in excess[d]] for many in (stated.above, stated.below)]
    held = sum(e.low > 0 for e in found.values())
    against = sum(e.high < 0 for e in found.values())
    verdict = f"{held} of {len(found)} expected differences of position are clear of zero"
    verdict += f", {against} point the other way. " if against else ". "
    verdict += "The hypothesis held." if held == len(found) else "The hypothesis was not shown."
    pooled = {"value": _difference(above, below, stable_seed(seed, "pooled"))}
    return Finding(
        name,
        {**pooled, **found, "drift": _difference(drifts[0], drifts[1], stable_seed(seed, "drift"))},
        verdict=verdict,
        p_values=tests,
    )


def drift_section(alarming: Alarming, runs: Sequence[DomainRun], plan: MapPlan) -> Section:
    """The section ``drift`` of an identity: calibration, its check, curves by domain, and the conversations themselves."""
    findings = {**alarming.findings, **(drift_findings(runs, plan.seed) if runs else {})}
    conversations = [
        {
            "domain": run.domain,
            "script": s.id,
            "title": s.title,
            "half": s.half,
            **{
                arm: {
                    **_pack([replays[i]])[0],
                    "alarms": [asdict(a) for a in alarms_of(alarming.calibration, replays[i].trace)],
                }
                for arm, replays in (("free", run.free), ("twin", run.twin), ("held", run.held))
                if replays
            },
        }
        for run in runs
        for i, s in enumerate(run.scripts)
    ]
    data = {
        "calibration": alarming.calibration.to_json(),
        "findings": {k: f.to_json() for k, f in findings.items()},
        "conversations": conversations,
    }
    return Section(1, strict(data))
