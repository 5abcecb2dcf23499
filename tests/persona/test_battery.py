from __future__ import annotations

import zlib
from collections import Counter

import numpy as np
import pytest

from homing.engine.base import Act
from homing.errors import InputError
from homing.persona.battery import Difficulty, baseline, calibrate, generate, price
from homing.persona.battery_items import FAMILIES

OFF = Act("floor", "d", (0,), (-np.inf,))
ON = Act("floor", "d", (0,), (0.0,))


class Subject:
    """Knows the answers of known families with known probability, and loses a known number of nats under an act."""

    def __init__(self, knows=None, dose=0.0):
        self.knows = dict.fromkeys(FAMILIES, 0.6) | (knows or {})
        self.dose = dose
        self.key = {}
        self.asked = 0

    def learn(self, items):
        self.key.update({i.prompt: i for i in items})

    async def score_replies(self, prompts, replies, *, acts=()):
        out = []
        acting = any(t > -np.inf for a in acts for t in a.thresholds)
        for c, options in zip(prompts, replies, strict=True):
            self.asked += 1
            item = self.key[c[-1].content]
            u = zlib.crc32(item.digest.encode()) / 2**32
            right = -1.0 if u < self.knows[item.family] else -6.0
            row = [np.asarray([right - self.dose * acting, -0.5], np.float32)]
            out.append(row + [np.asarray([-3.0 - 0.1 * j], np.float32) for j in range(len(options) - 1)])
        return out


class Open(Subject):
    """The same, for items that it has not seen before: every answer is known by its options' order."""

    async def score_replies(self, prompts, replies, *, acts=()):
        for c, options in zip(prompts, replies, strict=True):
            for f in FAMILIES:
                if c[-1].content not in self.key:
                    self.key.setdefault(c[-1].content, FakeItem(f, c[-1].content + options[0]))
        return await super().score_replies(prompts, replies, acts=acts)


class FakeItem:
    def __init__(self, family, digest):
        self.family, self.digest = family, digest


def knowing(n=400, **kw):
    subject = Subject(**kw)
    from homing.stats.seeds import stable_seed

    subject.learn(generate(n, seed=stable_seed("battery report", 0)))
    return subject


def test_a_thousand_items_with_exact_answers():
    items = generate(1000, seed=3)
    assert len({i.digest for i in items}) == 1000 and items == generate(1000, seed=3)
    assert set(Counter(i.family for i in items).values()) == {250}
    assert len({(i.family, i.template) for i in items}) == 24
    for i in items:
        assert len(i.distractors) >= 3 and len({i.answer, *i.distractors}) >= 4
        assert len(i.prompt) <= 160 and i.answer.strip() == i.answer
    assert generate(50, seed=4) != items[:50]


@pytest.mark.parametrize("level", range(4))
def test_arithmetic_and_lookup_are_right_at_every_level(level):
    for i in generate(300, seed=level, level=dict.fromkeys(FAMILIES, level)):
        if i.family == "arithmetic" and ("=" in i.prompt or "Compute" in i.prompt):
            text = i.prompt.replace(" = ?", "").replace("Compute ", "").split(".")[0]
            a, op, b = text.split()
            assert int(i.answer) == (int(a) + int(b) if op == "+" else int(a) - int(b))
        if i.family == "arithmetic":
            assert {len(d) for d in i.distractors} == {len(i.answer)}
        if i.family == "lookup" and "What has" in i.prompt:
            table = dict(p.split(": ") for p in i.prompt.split(". ")[0].split(", "))
            assert table[i.prompt.split("What has ")[1][:-1]] == i.answer
        if i.family == "copying" and ("exactly" in i.prompt or "reverse" in i.prompt):
            words = i.prompt.split(": ")[1].split()
            assert i.answer.split() == (words if "exactly" in i.prompt else words[::-1])


def test_barred_items_do_not_come_and_bad_requests_are_refused():
    first = generate(200, seed=1)
    assert not {i.digest for i in first} & {i.digest for i in generate(200, seed=1, barred={i.digest for i in first})}
    with pytest.raises(InputError, match="at least 1"):
        generate(0, seed=1)
    with pytest.raises(InputError, match="levels 0 to 3"):
        generate(5, seed=1, level={"copying": 9})


async def test_an_act_that_never_fires_costs_exactly_nothing():
    whole, *_ = await price(knowing(dose=2.0), (OFF,), n_items=400)
    e = whole.estimates["logprob"]
    assert (e.value, e.low, e.high) == (0.0, 0.0, 0.0)
    assert "equivalent" in whole.verdict


async def test_a_planted_price_is_found_and_called_different():
    whole, *families = await price(knowing(dose=4.0), (ON,), n_items=400)
    assert whole.estimates["logprob"].value == pytest.approx(-4.0)
    assert whole.estimates["accuracy"].high < 0 and "different" in whole.verdict
    assert len(families) == 4 and whole.estimates["accuracy_on"].value < 0.1


async def test_a_loss_too_small_to_change_an_answer_shows_in_the_log_probability_alone():
    whole, *_ = await price(knowing(dose=0.2), (ON,), n_items=400)
    assert whole.estimates["logprob"].high < 0 and "equivalent" in whole.verdict


async def test_families_at_floor_and_ceiling_are_not_measurable_and_stay_out():
    subject = knowing(knows={"copying": 1.0, "format": 0.25}, dose=4.0)
    base = await baseline(subject, n_items=400)
    assert base.state == {"arithmetic": "measured", "copying": "ceiling", "format": "floor", "lookup": "measured"}
    found = {f.name: f for f in await price(subject, (ON,), base=base)}
    assert found["cap.price.copying"].regime == "not_measurable" and "ceiling" in found["cap.price.copying"].reason
    assert "floor" in found["cap.price.format"].reason
    assert found["cap.price"].estimates["accuracy_off"].n == 200
    assert found["cap.price"].to_json()["schema"] == "homing.finding/1"


async def test_a_subject_that_knows_nothing_has_no_price():
    whole, *_ = await price(knowing(knows=dict.fromkeys(FAMILIES, 0.2)), (ON,), n_items=400)
    assert whole.regime == "not_measurable" and "cannot be measured" in whole.verdict


async def test_difficulty_comes_from_items_that_no_price_uses():
    got = await calibrate(Open(), seed=5, per_level=8)
    assert set(got.level) == set(FAMILIES) and all(len(a) == 4 for a in got.accuracy.values())
    back = Difficulty.from_json(got.to_json())
    assert back == got and len(got.barred) > 100
    base = await baseline(Open(), n_items=60, difficulty=got)
    assert not {i.digest for i in base.items} & got.barred
