"""Findings of a map from planted traces and replies: who the units are, and what few of them may claim."""

from __future__ import annotations

import math

import numpy as np
from tests.persona.planted import planted_replies

from homing.conversation import Conversation
from homing.drift.replay import Replay
from homing.drift.scripts import load_scripts
from homing.drift.trace import Trace, TurnTrace
from homing.stats import wilson
from homing.verbs.drifts import DOMAINS, DomainRun, drift_findings
from homing.verbs.persona import _kept_share


def planted_runs(level: dict[str, float], n: int, seed: int) -> list[DomainRun]:
    rng = np.random.default_rng(seed)

    def replay(name: str, at: float) -> Replay:
        own = at + rng.normal(0, 0.3)  # of the whole script: its turns are no separate witnesses
        turns = tuple(TurnTrace(t, own + rng.normal(0, 0.05), 20, 1.0) for t in range(8))
        return Replay(name, Conversation(()), Trace(name, turns), ("",) * 8, ((),) * 8, ((),) * 8, ())

    out: list[DomainRun] = []
    for domain in DOMAINS:
        scripts = load_scripts(domain)[:n]
        free, twin = ([replay(s.id, at) for s in scripts] for at in (level[domain], 1.0))
        out.append(DomainRun(domain, scripts, tuple(free), tuple(twin), tuple(free)))
    return out


def test_a_planted_order_of_domains_is_found_and_none_where_none_was_planted() -> None:
    apart = dict(zip(DOMAINS, (1.0, 1.0, -1.0, -1.0), strict=True))
    found = drift_findings(planted_runs(apart, 12, 0), seed=0)
    assert "The hypothesis held." in found["drift.hypothesis"].verdict
    assert found["drift.emotional"].estimates["excess"].high < 0
    nothing = drift_findings(planted_runs(dict.fromkeys(DOMAINS, 1.0), 12, 1), seed=0)
    assert "not shown" in nothing["drift.hypothesis"].verdict


def test_intervals_of_few_scripts_cover_nothing_planted() -> None:
    """Five scripts a side: plain percentile ends leave out 0 far more often than one time in twenty."""
    missed, total = 0, 0
    for seed in range(40):
        e = drift_findings(planted_runs(dict.fromkeys(DOMAINS, 1.0), 5, seed), seed=seed)["drift.hypothesis"].estimates
        for name in ("coding_over_emotional", "writing_over_self_nature"):  # no script in common
            missed += not e[name].low <= 0 <= e[name].high
            total += 1
    assert missed <= 11  # of 80 at 0.05: more in 1 of 1000


def test_a_script_without_any_reading_is_left_out() -> None:
    runs = planted_runs(dict.fromkeys(DOMAINS, 1.0), 5, 3)
    silent = runs[0].free[0].trace.turns
    gone = Trace("x", tuple(TurnTrace(t.turn, math.nan, 0, math.nan) for t in silent))
    free = (Replay("x", Conversation(()), gone, (), (), (), ()), *runs[0].free[1:])
    found = drift_findings([DomainRun(runs[0].domain, runs[0].scripts, free, runs[0].twin, ()), *runs[1:]], seed=0)
    assert found["drift.hypothesis"].estimates["coding_over_emotional"].n == 9


def test_roles_are_the_units_of_the_share_in_role() -> None:
    replies, _ = planted_replies()
    kept = np.where(replies.home, True, replies.role % 2 == 0)  # whole roles, in or out
    share = _kept_share(replies, kept, 0)
    assert share.value == 0.5
    assert share.n == 48
    naive = wilson(int(kept[~replies.home].sum()), int((~replies.home).sum()))
    assert share.half_width > 2 * naive.half_width
