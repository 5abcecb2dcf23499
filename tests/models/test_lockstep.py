from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from homing.conversation import Conversation
from homing.engine.base import Sampling
from homing.errors import InputError
from homing.models.base import Done, ReplyRequest
from homing.models.lockstep import Lockstep
from homing.testing.planted import PlantedModel


class Counting(PlantedModel):
    """Remembers how it was asked."""

    def __init__(self):
        super().__init__(lambda c: f"reply to {c[-1].content}", lambda c, options: [-float(len(o)) for o in options])
        self.batches: list[list[str]] = []
        self.kept: list[str] = []

    async def replies(self, requests):
        self.batches.append([r.conversation[-1].content for r in requests])
        self.kept += [r.keep for r in requests]
        return await super().replies(requests)

    async def score_replies(self, prompts, replies, *, acts=()):
        self.batches.append([f"score {p[-1].content}" for p in prompts])
        return await super().score_replies(prompts, replies, acts=acts)


async def test_what_all_wait_for_is_asked_together_in_order():
    model = Counting()
    step = Lockstep(model)

    async def talk(i: int) -> str:
        for _ in range(3 - i):  # those that start later in the loop must not come later in the batch
            await asyncio.sleep(0)
        first = await step.reply(Conversation.of(f"{i}a"))
        scored = await step.score_replies([Conversation.of(f"{i}b")], [["x", "yy"]])
        assert [float(s[0]) for s in scored[0]] == [-1.0, -2.0]
        if i == 1:
            return first.text
        return (await step.reply(Conversation.of(f"{i}c"))).text

    found = await step.together([lambda i=i: talk(i) for i in range(3)])
    assert found == ["reply to 0c", "reply to 1a", "reply to 2c"]
    assert model.batches == [["0a", "1a", "2a"], ["score 0b", "score 1b", "score 2b"], ["0c", "2c"]]


class Own(Counting):
    """An engine of our own, in name."""

    @property
    def info(self):
        return replace(super().info, engine="llamacpp")


@pytest.mark.parametrize("own", [True, False])
async def test_what_several_ask_alike_is_asked_of_an_engine_of_our_own_once(own: bool):
    model = Own() if own else Counting()
    step = Lockstep(model)

    async def talk(i: int):
        asked = Conversation.of("same")
        said = await step.replies([ReplyRequest(asked, Sampling(8, seed=s)) for s in (0, i % 2)])
        return [r.text for r in said], await step.score_replies([asked, asked], [["x"], ["x", "yy"[: 1 + i % 2]]])

    found = await step.together([lambda i=i: talk(i) for i in range(4)])
    assert [f[0] for f in found] == [["reply to same"] * 2] * 4
    assert [[float(x[0]) for x in f[1][1]] for f in found] == [[-1.0, -1.0 - i % 2] for i in range(4)]
    # two seeds, and three sets of options; elsewhere each asks for itself
    assert [len(b) for b in model.batches] == ([2, 3] if own else [8, 8])
    assert step.spent[0].calls == 2, "what a conversation took is its own"


async def test_a_stream_gives_its_last_event_and_a_choice_its_probabilities():
    step = Lockstep(Counting())

    async def talk():
        events = [e async for e in step.stream(Conversation.of("hello"), sampling=Sampling(8))]
        return events, await step.choose(Conversation.of("which"), ["a", "bbb"])

    ((events, choice),) = await step.together([talk])
    assert len(events) == 1 and isinstance(events[0], Done)
    assert choice.probabilities[0] == pytest.approx(1 / (1 + np.exp(-2)))


async def test_conversations_keep_their_prefixes_under_one_name_and_another_each_run():
    model = Counting()
    for _ in range(2):
        step = Lockstep(model, keep="unit")
        await step.together([lambda i=i, step=step: step.reply(Conversation.of(str(i))) for i in range(2)])
    one, *_, other = model.kept
    assert model.kept == [one, one, other, other] and one != other and one.startswith("unit#")
    step = Lockstep(model)
    await step.together([lambda: step.replies([ReplyRequest(Conversation.of("x"), keep="mine")])])
    assert model.kept[-1] == "mine"


async def test_the_first_failure_ends_all_and_is_the_one_that_is_raised():
    step = Lockstep(Counting())
    ended: list[int] = []

    async def talk(i: int) -> None:
        if i == 1:
            raise InputError("conversation 1 cannot be had")
        try:
            await step.reply(Conversation.of("x"))
            await step.reply(Conversation.of("y"))
        finally:
            ended.append(i)

    with pytest.raises(InputError, match="conversation 1"):
        await step.together([lambda i=i: talk(i) for i in range(3)])
    assert sorted(ended) == [0, 2]


async def test_a_failure_below_reaches_those_that_asked():
    class Broken(Counting):
        async def replies(self, requests):
            raise InputError("no more")

    step = Lockstep(Broken())
    with pytest.raises(InputError, match="no more"):
        await step.together([lambda: step.reply(Conversation.of("x"))])


async def test_nobody_is_company_enough():
    assert await Lockstep(Counting()).together([]) == []


async def test_a_choice_goes_on_from_what_conversations_have_kept():
    class Keeps(Counting):
        names: list[list[str]]

        async def score_kept(self, prompts, replies, *, acts=(), keep=()):
            self.names = [*getattr(self, "names", []), list(keep)]
            return await super().score_replies(prompts, replies, acts=acts)

    model = Keeps()
    step = Lockstep(model, keep="unit")

    async def talk(i: int) -> None:
        await step.reply(Conversation.of(f"{i}"))
        await step.score_replies([Conversation.of("a"), Conversation.of("b")], [["x", "y"], ["x", "y"]])

    await step.together([lambda i=i: talk(i) for i in range(2)])
    assert model.names == [[model.kept[0]] * 4]
    plain = Keeps()
    unkept = Lockstep(plain)
    await unkept.together([lambda: unkept.score_replies([Conversation.of("a")], [["x", "y"]])])
    assert not hasattr(plain, "names")
