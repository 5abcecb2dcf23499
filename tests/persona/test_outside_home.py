"""Which items earn their place: a planted character is followed alike in both wordings, noise is not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from homing.conversation import Conversation, Message
from homing.errors import InputError
from homing.persona.outside import FACETS, Answers, OutsideItem, Wording, answers
from homing.persona.outside_home import (
    LEAST,
    LEVEL,
    SHORT,
    OutsideHome,
    load_planted,
    measure_outside,
    qualify,
    short_form,
)
from homing.stats.seeds import stable_seed
from homing.testing.planted import PlantedModel, normal

ITEMS = tuple(
    OutsideItem(f"{f}-{k}", f, "x", Wording(f"{f} {k} first?", ("a", "b", "c")), Wording(f"{f} {k} second?", ("a", "b", "c")))
    for f in FACETS
    for k in range(10)
)  # fmt: skip
IDS, OF = tuple(i.id for i in ITEMS), tuple(i.facet for i in ITEMS)


def _noise(rng: np.random.Generator, size: float) -> np.ndarray:
    x = size * rng.standard_normal((len(ITEMS), 3))
    return x - x.mean(axis=1, keepdims=True)


def _made(rng: np.random.Generator, moved: np.ndarray | float) -> Answers:
    return Answers(IDS, OF, moved + _noise(rng, 1.0), moved + _noise(rng, 1.0))


def test_noise_qualifies_as_often_as_the_level_says():
    rng = np.random.default_rng(stable_seed("test_noise_qualifies"))
    home, n = Answers(IDS, OF, np.zeros((60, 3)), np.zeros((60, 3))), 0
    for _ in range(20):
        n += int((qualify(home, [_made(rng, 0.0) for _ in range(6)], seed=0) <= LEVEL).sum())
    assert binom.ppf(0.0005, 1200, LEVEL) <= n <= binom.ppf(0.9995, 1200, LEVEL)


def test_items_that_follow_qualify_and_the_short_form_takes_the_best_of_each_facet():
    rng = np.random.default_rng(stable_seed("test_items_that_follow"))
    home = Answers(IDS, OF, np.zeros((60, 3)), np.zeros((60, 3)))
    follows = np.array([int(i.split("-")[1]) < 6 for i in IDS])
    size = np.where(follows, 4.0, 0.0)[:, None]
    tried = [_made(rng, size * _noise(rng, 1.0)) for _ in range(6)]
    p = qualify(home, tried, seed=0)
    assert (p[follows] <= LEVEL).mean() > 0.9 and (p[~follows] <= LEVEL).mean() < 0.2
    short = short_form(home, tried, p)
    assert len(short) == SHORT and [f.split("-")[0] for f in short].count("style") == 4
    assert list(short) == sorted(short, key=IDS.index)


def test_the_personas_plant_each_facet_once():
    plants = load_planted("plant")
    assert sorted(p.facet for p in plants) == sorted(FACETS)
    assert len(load_planted("qualify")) >= 6 and len(load_planted("validate")) >= 4
    assert len({p.prompt for p in load_planted()}) == len(load_planted())


def obedient(strength: float, own: float = 2.0) -> PlantedModel:
    """Takes on the persona of its system prompt; one that plants a facet moves that facet by ``own`` times more."""
    plants = {p.prompt: p.facet for p in load_planted("plant")}

    def weigh(conversation: Conversation, options):
        system, question = conversation.system or "", conversation[-1].content
        facet, about = question.split(" ")[0], " ".join(question.split(" ")[:2])
        size = strength if system else 0.0
        if system in plants:
            size *= own if plants[system] == facet else 0.5
        elif system:
            size *= 0.5 + abs(normal("strength", system))  # some are taken on more than others
        drawn = np.array([normal("persona", system, about, k) for k in range(len(options))])
        noise = np.array([normal("noise", conversation.digest, k) for k in range(len(options))])
        return [float(x) for x in size * (drawn - drawn.mean()) + 0.5 * noise - 9]

    return PlantedModel(lambda c: "Fine.", weigh)


async def test_a_model_that_takes_on_personas_has_a_battery():
    found = await measure_outside(obedient(3.0), ITEMS)
    assert found.measurable and len(found.short) == SHORT
    assert len(found.qualified) > 50
    checks = found.checks
    assert checks["outside.short"].estimates["correlation"].low > 0.5
    assert abs(checks["outside.retest"].estimates["distance"].value) < 0.6
    shown = [checks[f"outside.plant.{f}"].estimates["more_than_others"].low > 0 for f in FACETS]
    assert sum(shown) >= 5
    again = OutsideHome.from_section(*found.to_section())
    assert again.short == found.short and np.array_equal(again.home.a, found.home.a)
    assert again.checks["outside.retest"].estimates == checks["outside.retest"].estimates


async def test_a_model_that_takes_on_nothing_has_none():
    found = await measure_outside(obedient(0.0), ITEMS, opening=(Message("system", "Be kind."),))
    assert not found.measurable and found.short == ()
    assert found.checks["outside.qualified"].regime == "not_measurable"
    with pytest.raises(InputError, match=f"{LEAST} are needed"):
        found.form("short")


async def test_what_does_not_qualify_is_not_asked_for_long():
    asked: dict[str, int] = {}
    model = obedient(0.0)

    async def count(name: str, conversation: Conversation, some):
        asked[name] = len(some)
        return await answers(model, conversation, some)

    await measure_outside(model, ITEMS, ask=count)
    sizes = list(asked.values())
    assert len(sizes) == 1 + len(load_planted("qualify")) and sizes[:4] == [len(ITEMS)] * 4
    assert all(n < 0.7 * len(ITEMS) for n in sizes[4:])


async def test_a_plant_that_moves_everything_alike_is_not_shown_to_be_its_facets():
    found = await measure_outside(obedient(3.0, own=0.5), ITEMS)
    shown = [found.checks[f"outside.plant.{f}"].estimates["more_than_others"].low > 0 for f in FACETS]
    assert sum(shown) <= 1


@pytest.mark.parametrize(
    ("change", "says"),
    [({"floor": 0.1}, "asked in another way"), ({"items": None}, "cannot be read"), ({"p": ["x"]}, "cannot be read")],
)
async def test_a_section_that_cannot_be_read_says_so(change: dict, says: str):
    data, arrays = (await measure_outside(obedient(3.0), ITEMS)).to_section()
    with pytest.raises(InputError, match=says):
        OutsideHome.from_section({**data, **change}, arrays)
