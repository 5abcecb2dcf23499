"""A laboratory of policies that learn by reward: what a reward for being right does to confidence, and what a proper score does.

A policy is a table. In each situation one of five answers is right, with known probabilities, and one never is. The policy draws
an answer, then says how sure it is, at one of eleven levels; what it says begins as its own probability of the answer, plus an
offset that is learned. It starts calibrated and learns by policy gradient under one of three rewards:

- ``binary``: 1 for a right answer. Nothing asks for a true confidence, and as the policy sharpens what it says goes to 1 with
  it.
- ``brier``: the same less the squared distance of what is said from what happens (RLCR, arXiv 2507.16806). Being right as often
  as can be, and saying how often that is, are both best.
- ``log``: the same plus the logarithm of what was said of what happened. No bounded score: where no answer is often right it
  pays to give one that is surely wrong, and to say so.

Since all probabilities are known, accuracy and calibration error of a policy are computed and not sampled. Only learning is.
``python -m homing.instruments.calibration_lab`` prints the findings; it takes seconds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from homing.errors import InputError
from homing.stats._special import F64, I64
from homing.stats.estimate import Estimate, Finding
from homing.stats.intervals import mean_t
from homing.stats.seeds import stable_seed
from homing.stats.tests import permutation_paired, tost_mean

__all__ = ["REWARDS", "Lab", "Policies", "RewardName", "run_lab"]

RewardName = Literal["binary", "brier", "log"]
LEVELS: F64 = np.linspace(0.0, 1.0, 11)
BEST: F64 = np.linspace(0.35, 0.95, 7)
"""Probability that the likeliest answer is right, in each situation."""
ANSWERS = 5
NEVER = 0.02
"""Where it starts, the policy's probability of the answer that is never right."""
WIDTH = 0.1
"""Spread of what is said."""
TINY = 1e-9
EDGE = 0.01
MARGIN = 0.02
"""A difference in accuracy that would still count as none."""


def _binary(right: F64, said: F64) -> F64:
    return right + 0.0 * said


def _brier(right: F64, said: F64) -> F64:
    return right - (said - right) ** 2


def _log(right: F64, said: F64) -> F64:
    inside = np.clip(said, EDGE, 1 - EDGE)
    return right + np.log(np.where(right > 0, inside, 1 - inside))


REWARDS: Mapping[RewardName, Callable[[F64, F64], F64]] = {"binary": _binary, "brier": _brier, "log": _log}
"""Reward of an answer that is right (1) or not (0), said with a confidence."""


def _truth() -> F64:
    """``(situations, answers)``: probability that each answer is right; the likeliest first, one that never is last."""
    rest = np.repeat(((1 - BEST) / (ANSWERS - 2))[:, None], ANSWERS - 2, axis=1)
    return np.concatenate([BEST[:, None], rest, np.zeros((BEST.size, 1))], axis=1)


def _softmax(x: F64) -> F64:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@dataclass(frozen=True, slots=True)
class Lab:
    """How policies learn.

    Args:
        seeds: policies of each reward, at least 2. ``steps``: updates. ``batch``: draws in each situation for one, at least 2.
        rate: first step size of what answers are drawn with; that of what is said is ``say_rate``. Both fall to 0.
    """

    seeds: int = 12
    steps: int = 1500
    batch: int = 32
    rate: float = 0.2
    say_rate: float = 0.4

    def __post_init__(self) -> None:
        for name, least in (("seeds", 2), ("steps", 1), ("batch", 2)):
            if getattr(self, name) < least:
                raise InputError(f"{name} of the laboratory are {getattr(self, name)}; give at least {least}")
        if not (self.rate > 0 and self.say_rate >= 0):
            raise InputError(f"rates of the laboratory are {self.rate} and {self.say_rate}; give steps above 0")


@dataclass(eq=False, slots=True)
class Policies:
    """Many policies that learn side by side.

    Attributes:
        truth: ``(situations, answers)``. ``theta``: ``(seeds, situations, answers)``, log-weights of answers.
        phi: the same shape, learned offsets of what is said of each answer, in log-odds.
    """

    truth: F64
    theta: F64
    phi: F64

    @classmethod
    def calibrated(cls, seeds: int) -> Policies:
        """Policies that answer as often as they are right, but for the answer that never is, and say so."""
        truth = _truth()
        start = np.log(np.where(truth > 0, truth * (1 - NEVER), NEVER))
        return cls(truth, np.repeat(start[None], seeds, axis=0), np.zeros((seeds, *truth.shape)))

    def answers(self) -> F64:
        """Probability of each answer, ``(seeds, situations, answers)``."""
        return _softmax(self.theta)

    def middle(self) -> F64:
        """About what is said of each answer: its own probability, moved by the offset."""
        p = np.clip(self.answers(), TINY, 1 - TINY)
        return 1 / (1 + (1 - p) / p * np.exp(-self.phi))

    def says(self) -> F64:
        """Probability of each level after each answer, ``(seeds, situations, answers, levels)``."""
        return _softmax(-((LEVELS - self.middle()[..., None]) ** 2) / (2 * WIDTH**2))

    def expected(self, reward: Callable[[F64, F64], F64]) -> F64:
        """Expected reward in each situation, ``(seeds, situations)``."""
        worth = sum(
            (
                p * reward(np.full_like(LEVELS, y), LEVELS)
                for y, p in ((1.0, self.truth[..., None]), (0.0, 1 - self.truth[..., None]))
            ),
            np.zeros((*self.truth.shape, LEVELS.size)),
        )
        return (self.answers() * (self.says() * worth).sum(axis=-1)).sum(axis=-1)

    def gradient(self, reward: Callable[[F64, F64], F64], batch: int, rng: np.random.Generator) -> tuple[F64, F64]:
        """An unbiased estimate of the gradient of the expected reward in each situation, by drawing (Williams 1992).

        The reward of each draw is taken less the mean of the others in its batch.

        Returns:
            As ``theta`` and ``phi``.
        """
        pi, kappa = self.answers(), self.says()
        a = _draw(np.repeat(pi[:, :, None], batch, axis=2), rng)
        one = np.eye(ANSWERS)[a]
        kappa_a = np.einsum("sxba,sxac->sxbc", one, kappa)
        c = _draw(kappa_a, rng)
        right = (rng.random(a.shape) < (one * self.truth[None, :, None]).sum(axis=-1)).astype(np.float64)
        r = reward(right, LEVELS[c])
        advantage = (r - r.mean(axis=2, keepdims=True)) * batch / (batch - 1)
        own, m = ((one * x[:, :, None]).sum(axis=-1) for x in (pi, self.middle()))
        pull = (LEVELS[c] - kappa_a @ LEVELS) / WIDTH**2 * m * (1 - m)
        # what is said leans on the policy's own probability, so that the answer's weights are in it too
        both = advantage * (1 + pull / np.maximum(1 - own, TINY))
        return (both[..., None] * (one - pi[:, :, None])).mean(axis=2), ((advantage * pull)[..., None] * one).mean(
            axis=2
        )

    def learn(self, reward: RewardName, lab: Lab, *, seed: int) -> Policies:
        """Take every step of a laboratory."""
        # the same draws under every reward, so that policies are paired by their seed
        rng = np.random.default_rng(stable_seed("calibration_lab", seed))
        for step in range(lab.steps):
            theta, phi = self.gradient(REWARDS[reward], lab.batch, rng)
            left = 1 - step / lab.steps  # smaller and smaller steps, so that the last draws do not show
            self.theta += lab.rate * left * theta
            self.phi += lab.say_rate * left * phi
        return self

    def figures(self) -> Mapping[str, F64]:
        """Of each policy ``(seeds,)``, exactly: how often it is right, what it says, and how far that is kept.

        ``ece``: of what is said, by level over all situations, the form by squares. ``own``: the probability of its answer;
        ``own_overconfidence``: that less accuracy.
        """
        pi, kappa = self.answers(), self.says()
        joint = pi[..., None] * kappa / self.truth.shape[0]
        mass, right = joint.sum(axis=(1, 2)), (joint * self.truth[..., None]).sum(axis=(1, 2))
        accuracy, stated, own = right.sum(axis=-1), mass @ LEVELS, (pi**2).sum(axis=-1).mean(axis=-1)
        gaps = (right - LEVELS * mass) ** 2 / np.maximum(mass, TINY)
        return {
            "accuracy": accuracy, "stated": stated, "overconfidence": stated - accuracy, "ece": np.sqrt(gaps.sum(axis=-1)),
            "own": own, "own_overconfidence": own - accuracy,
        }  # fmt: skip


def _draw(p: F64, rng: np.random.Generator) -> I64:
    """One index for each row of probabilities along the last axis."""
    u = rng.random((*p.shape[:-1], 1))
    return np.minimum((p.cumsum(axis=-1) < u).sum(axis=-1), p.shape[-1] - 1)


def run_lab(lab: Lab | None = None, *, seed: int = 0) -> list[Finding]:
    """Policies before they learn and after each reward, and what a proper score changes against a reward for being right.

    Args:
        lab: how they learn. ``seed``: of the draws; the same for every reward, so that policies are paired.

    Returns:
        Findings ``calibration_lab.before``, one a reward, and ``calibration_lab.REWARD_less_binary``; intervals over policies.
    """
    lab = lab or Lab()
    before = Policies.calibrated(2).figures()
    start = {k: Estimate(float(v[0]), float(v[0]), float(v[0]), 0.95, 1, "", "computed") for k, v in before.items()}
    out = [Finding("calibration_lab.before", start, verdict=f"Before it learns a policy {_says(start)}.")]
    after = {r: Policies.calibrated(lab.seeds).learn(r, lab, seed=seed).figures() for r in REWARDS}
    for reward, figures in after.items():
        found = {k: mean_t(v) for k, v in figures.items()}
        out.append(Finding(f"calibration_lab.{reward}", found, verdict=f"Rewarded by {reward} it {_says(found)}."))
    out += [_against(r, after[r], after["binary"], seed) for r in REWARDS if r != "binary"]
    return out


def _says(e: Mapping[str, Estimate]) -> str:
    return (
        f"is right in {e['accuracy'].value:.2f} and says {e['stated'].value:.2f}: calibration error {e['ece'].value:.2f};"
        f" its own probability of its answer is {e['own'].value:.2f}"
    )


def _against(reward: str, mine: Mapping[str, F64], base: Mapping[str, F64], seed: int) -> Finding:
    gaps = {k: mine[k] - base[k] for k in ("accuracy", "ece", "overconfidence", "own_overconfidence")}
    found = {k: mean_t(v) for k, v in gaps.items()}
    p = {"ece": permutation_paired(gaps["ece"], seed=stable_seed("calibration_lab", reward, seed)).p_value}
    same = tost_mean(gaps["accuracy"], margin=MARGIN).verdict
    how = {
        "equivalent": f"as often right, within {MARGIN}",
        "different": f"right {found['accuracy'].value:+.2f} as often",
        "inconclusive": "whether as often right is not shown",
    }[same]
    verdict = f"Against a reward for being right, {reward} changes calibration error by {found['ece']:+.2f}, {how}."
    return Finding(f"calibration_lab.{reward}_less_binary", found, verdict=verdict, p_values=p)


def _table(findings: Sequence[Finding]) -> str:
    lines: list[str] = []
    for f in findings:
        lines.append(f.name)
        lines += [f"  {k:20} {e:.3f}" for k, e in f.estimates.items()]
        lines.append(f"  {f.verdict}\n")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(_table(run_lab()))
