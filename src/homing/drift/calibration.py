"""Alarms with a promise: calibrated on home conversations, kept whatever the distribution of drift."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from homing.drift.detectors import DETECTORS, Design, Detector, DetectorState, Statistics, step
from homing.drift.standard import Standard, fit_standard
from homing.errors import InputError
from homing.stats import Estimate, Threshold, bootstrap_mean, exceedance, least_n, quantile_threshold, wilson

__all__ = ["TRAFFIC", "Alarm", "Calibration", "Delay", "calibrate", "check", "detection_delay", "watch"]

SCHEMA = 1
TRAFFIC = "traffic"
"""The section of an identity that holds a calibration on a service's own conversations; it goes before that of the map."""
_LOG = logging.getLogger("homing.drift")


@dataclass(frozen=True, slots=True)
class Alarm:
    """One detector over its threshold.

    Attributes:
        detector: ``ewma`` or ``cusum``. ``turn``: counted from 0.
        statistic, threshold: how far it stands and how far is too far, in the detector's own units.
    """

    detector: Detector
    turn: int
    statistic: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Thresholds of both detectors under one promise, and what they rest on.

    The promise: in a home conversation of at most ``max_turns`` turns, either detector alarms with probability at most
    ``promise.alpha``, with ``promise.confidence``.

    Attributes:
        standard: in-control mean by turn and spread by reply length.
        scales: each detector's typical in-control maximum; ``promise.value`` times it is its threshold.
        promise: the joint threshold with the promise it keeps.
        design: of the detectors. ``max_turns``: turns that the promise covers.
        shortest, longest: reply lengths seen, in tokens. ``context``: what it holds for, in words.
        conversations: all that were read; those of ``max_turns`` turns and more stand behind ``promise``.
    """

    standard: Standard
    scales: tuple[float, float]
    promise: Threshold
    design: Design
    max_turns: int
    shortest: int
    longest: int
    context: str
    conversations: int

    @property
    def uncalibrated(self) -> bool:
        """Whether there were too few home conversations for the promise asked for."""
        return not self.promise.calibrated

    @property
    def sentence(self) -> str:
        """The promise in words."""
        p = self.promise
        kept = (
            f"in a home conversation of up to {self.max_turns} turns any alarm has a probability of at most "
            f"{p.alpha:.1%}, with {p.confidence:.0%} confidence, from {p.n} conversations"
        )
        if not self.uncalibrated:
            return kept
        need = least_n(p.asked, p.confidence)
        return f"uncalibrated: {p.asked:.1%} needs {need} home conversations; {kept}"

    def threshold(self, detector: Detector) -> float:
        """One detector's threshold, in its own units."""
        return self.promise.value * self.scales[DETECTORS.index(detector)]

    def observe(
        self, state: DetectorState, drift: float, tokens: int, *, turn: int
    ) -> tuple[DetectorState, Statistics, tuple[Alarm, ...]]:
        """Read one turn of a live conversation.

        Args:
            state: before it; ``DetectorState()`` at the start.
            drift: of the turn, in the units calibrated; not a number where the reading is missing.
            tokens: length of the reply. ``turn``: counted from 0.
        """
        state, seen = step(state, self.standard.z(turn, drift, tokens), design=self.design)
        over: list[Detector] = [d for d in DETECTORS if seen.of(d) > self.threshold(d)]
        return state, seen, tuple(Alarm(d, turn, seen.of(d), self.threshold(d)) for d in over)

    def outside(self, lengths: Sequence[int], *, context: str | None = None) -> tuple[str, ...]:
        """Why the promise does not cover a conversation, one sentence each; nothing where it does."""
        out: list[str] = []
        if len(lengths) > self.max_turns:
            out.append(f"the conversation has {len(lengths)} turns; the alarms are calibrated for {self.max_turns}")
        strange = [n for n in lengths if n > 0 and not self.shortest <= n <= self.longest]
        if strange:
            out.append(
                f"{len(strange)} of {len(lengths)} replies outside the calibrated {self.shortest} to {self.longest} tokens "
                f"(one has {strange[0]})"
            )
        if context is not None and context != self.context:
            out.append(f"the alarms are calibrated for {self.context!r}, and this is {context!r}")
        return tuple(out)

    def turns_between_false_alarms(self, *, level: float = 0.95) -> Estimate:
        """Home turns read for one conversation with a false alarm, from the promise's exact order statistic."""
        rate = exceedance(self.promise, level=level)
        turns = float(self.max_turns)
        return Estimate(
            turns / rate.value, turns / rate.high, turns / rate.low, level, rate.n, "turns", "turns over rate of alarm"
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON object with its schema."""
        return {
            "schema": SCHEMA,
            "standard": self.standard.to_json(),
            "scales": list(self.scales),
            "promise": self.promise.to_json(),
            "design": asdict(self.design),
            "max_turns": self.max_turns,
            "shortest": self.shortest,
            "longest": self.longest,
            "context": self.context,
            "conversations": self.conversations,
            "uncalibrated": self.uncalibrated,
        }

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Calibration:
        """The inverse of :meth:`to_json`."""
        if raw.get("schema") != SCHEMA:
            raise InputError(f"calibration has schema {raw.get('schema')!r}; this version reads {SCHEMA}; map again")
        ewma, cusum = raw["scales"]
        return cls(
            standard=Standard.from_json(raw["standard"]),
            scales=(float(ewma), float(cusum)),
            promise=Threshold.from_json(raw["promise"]),
            design=Design(**raw["design"]),
            max_turns=int(raw["max_turns"]),
            shortest=int(raw["shortest"]),
            longest=int(raw["longest"]),
            context=str(raw["context"]),
            conversations=int(raw["conversations"]),
        )


def _checked(
    drifts: Sequence[Sequence[float]], lengths: Sequence[Sequence[int]]
) -> list[tuple[list[float], list[int]]]:
    if len(drifts) != len(lengths):
        raise InputError(f"{len(drifts)} conversations have drifts and {len(lengths)} have lengths; give both for each")
    out: list[tuple[list[float], list[int]]] = []
    for i, (d, n) in enumerate(zip(drifts, lengths, strict=True)):
        if len(d) != len(n):
            raise InputError(f"conversation {i + 1} has {len(d)} drifts and {len(n)} lengths; give one of each a turn")
        out.append(([float(x) for x in d], [int(x) for x in n]))
    return out


def _maxima(drifts: Sequence[float], lengths: Sequence[int], standard: Standard, design: Design) -> tuple[float, float]:
    """Largest statistic of each detector over one conversation; 0 where nothing could be read."""
    state, ewma, cusum = DetectorState(), 0.0, 0.0
    for t, (drift, tokens) in enumerate(zip(drifts, lengths, strict=True)):
        state, seen = step(state, standard.z(t, drift, tokens), design=design)
        if not math.isnan(seen.ewma):
            ewma, cusum = max(ewma, seen.ewma), max(cusum, seen.cusum)
    return ewma, cusum


def _scales(maxima: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Ninth decile of each detector's maxima, so that neither detector spends the whole promise."""
    ewma, cusum = np.quantile(np.asarray(maxima), 0.9, axis=0).tolist()
    # A detector that never moved at home gets a scale of one standard deviation rather than none.
    return (ewma if ewma > 0 else 1.0), (cusum if cusum > 0 else 1.0)


def calibrate(
    drifts: Sequence[Sequence[float]],
    lengths: Sequence[Sequence[int]],
    *,
    alpha: float = 0.05,
    confidence: float = 0.95,
    context: str,
    design: Design | None = None,
) -> Calibration:
    """Calibrate both detectors on home conversations.

    Each conversation is scored by a standard and scales fitted to the others (in at most 50 folds), so that its maximum
    is what a fresh conversation would show; the joint threshold is an order statistic of those maxima.

    Args:
        drifts: one sequence a conversation, one figure a turn; lower is further away; NaN where it is missing.
        lengths: same shape, reply lengths in tokens.
        alpha: probability of any alarm in a home conversation. ``confidence``: in that promise.
        context: what these conversations had in common: home, system prompt, sampling.
        design: of the detectors.

    Raises:
        InputError: fewer than 4 conversations, or no variation in them.
    """
    data = [(d, n) for d, n in _checked(drifts, lengths) if any(math.isfinite(x) for x in d)]
    if len(data) < 4:
        raise InputError(f"{len(data)} home conversations have drift readings; a calibration needs at least 4")
    chosen = design or Design()
    turns = sorted((len(d) for d, _ in data), reverse=True)
    need = least_n(alpha, confidence)
    # As many turns as enough conversations reach; shorter conversations help the standard, and stand behind no promise.
    max_turns = turns[need - 1] if len(turns) >= need else turns[-1]
    cut = [(d[:max_turns], n[:max_turns]) for d, n in data]
    folds = min(len(data), 50)
    joint: list[float] = []
    for fold in range(folds):
        rest = [c for i, c in enumerate(cut) if i % folds != fold]
        standard = fit_standard(rest)
        scales = _scales([_maxima(d, n, standard, chosen) for d, n in rest])
        for i in range(fold, len(cut), folds):
            if len(cut[i][0]) == max_turns:
                pair = _maxima(*cut[i], standard, chosen)
                joint.append(max(s / k for s, k in zip(pair, scales, strict=True)))
    standard = fit_standard(cut)
    seen = [n for _, lens in data for n in lens if n > 0]
    return Calibration(
        standard=standard,
        scales=_scales([_maxima(d, n, standard, chosen) for d, n in cut]),
        promise=quantile_threshold(joint, alpha=alpha, confidence=confidence),
        design=chosen,
        max_turns=max_turns,
        shortest=min(seen, default=0),
        longest=max(seen, default=0),
        context=context,
        conversations=len(data),
    )


def watch(
    calibration: Calibration,
    drifts: Sequence[float],
    lengths: Sequence[int],
    *,
    context: str | None = None,
    warn: bool = True,
) -> list[Alarm]:
    """Every turn at which a detector stands over its threshold, in one conversation from its start.

    What the promise does not cover is logged as a warning; ``Calibration.outside`` gives the same sentences.

    Args:
        calibration: of the home that the conversation should keep.
        drifts: one a turn, NaN where missing. ``lengths``: reply lengths in tokens.
        context: of this conversation; None: not compared.
        warn: False where the caller says itself what the promise does not cover.
    """
    ((values, tokens),) = _checked([drifts], [lengths])
    for sentence in calibration.outside(tokens, context=context) if warn else ():
        _LOG.warning("%s; the promise does not cover this", sentence)
    state, out = DetectorState(), list[Alarm]()
    for turn, (drift, n) in enumerate(zip(values, tokens, strict=True)):
        state, _, alarms = calibration.observe(state, drift, n, turn=turn)
        out.extend(alarms)
    return out


def _first_alarm(calibration: Calibration, drifts: Sequence[float], lengths: Sequence[int]) -> int | None:
    state = DetectorState()
    for turn, (drift, n) in enumerate(zip(drifts, lengths, strict=True)):
        state, _, alarms = calibration.observe(state, drift, n, turn=turn)
        if alarms:
            return turn
    return None


def check(
    calibration: Calibration,
    drifts: Sequence[Sequence[float]],
    lengths: Sequence[Sequence[int]],
    *,
    level: float = 0.95,
) -> Estimate:
    """Rate of any alarm within ``max_turns`` turns over fresh home conversations, with Wilson's interval."""
    t = calibration.max_turns
    data = [(d[:t], n[:t]) for d, n in _checked(drifts, lengths)]
    alarmed = sum(_first_alarm(calibration, d, n) is not None for d, n in data)
    return wilson(alarmed, len(data), level=level, unit="of home conversations")


@dataclass(frozen=True, slots=True)
class Delay:
    """How soon a planted shift is found.

    Attributes:
        found: rate of conversations that alarm at or after the shift, none before. ``turns``: turns from the shift to
            the alarm, over those found (1: at the very turn of the shift).
    """

    found: Estimate
    turns: Estimate


FEWEST_DELAYS = 20
"""Delays are skewed whole numbers: of some 11 of them a bootstrap covers 92.4% where it says 95%, studentised or not."""


def detection_delay(
    calibration: Calibration,
    drifts: Sequence[Sequence[float]],
    lengths: Sequence[Sequence[int]],
    *,
    shift: float,
    start: int,
    seed: int,
) -> Delay:
    """Lower the drift of fresh home conversations by ``shift`` from turn ``start`` on, and see when alarms come.

    Args:
        calibration: of the alarms.
        drifts, lengths: fresh home conversations, longer than ``start`` turns.
        shift: above 0, in units of drift. ``start``: first shifted turn, from 0.
        seed: of the delay's bootstrap.
    """
    data = [(d, n) for d, n in _checked(drifts, lengths) if len(d) > start]
    if not data:
        raise InputError(f"no conversation is longer than {start} turns; shift earlier or give longer ones")
    firsts = [_first_alarm(calibration, [x - shift if t >= start else x for t, x in enumerate(d)], n) for d, n in data]
    delays = [f - start + 1 for f in firsts if f is not None and f >= start]
    found = wilson(len(delays), len(data), unit="of conversations")
    if not delays:
        return Delay(found, Estimate(math.nan, -math.inf, math.inf, 0.95, 0, "turns", "never found"))
    if len(delays) < FEWEST_DELAYS:
        latest = float(max(len(d) for d, _ in data) - start)
        how = f"{len(delays)} found, too few for an interval: all that it can be"
        return Delay(found, Estimate(float(np.mean(delays)), 1.0, latest, 0.95, len(delays), "turns", how))
    return Delay(found, bootstrap_mean(delays, seed=seed, unit="turns"))
