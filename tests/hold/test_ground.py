from __future__ import annotations

import pytest

from homing.conversation import Conversation
from homing.engine.base import Sampling
from homing.errors import InputError
from homing.hold.base import HISTORY, Turn, collect
from homing.hold.chain import build, held
from homing.hold.ground import ASK_PREMISE, LINE, VERDICT, WAIT, Ground
from homing.hold.premises import premises, stated, supplied
from homing.instruments.presupposition_facts import LEVELS, TRIGGERS, TRUTHS, all_facts, bare, deal
from homing.models.base import Intervention
from homing.testing.planted import PlantedModel
from homing.testing.planted_presupposition import PresupposingSubject


class Judge:
    """Echoes what it is given, and calls true what it is told to; keeps every fork it was asked in."""

    def __init__(self, true=lambda claim: True, *, liking: float = 0.0, states: str = "") -> None:
        self.true, self.liking, self.states = true, liking, states
        self.forks: list[Conversation] = []
        self.model = PlantedModel(self.say, self.weigh)

    def say(self, c: Conversation) -> str:
        if ASK_PREMISE in c[-1].content:
            self.forks.append(c)
            return self.states
        return " | ".join(f"{m.role}: {m.content}" for m in c)

    def weigh(self, c: Conversation, options) -> list[float]:
        self.forks.append(c)
        odds = (1.0 if self.true(c[-1].content) else -1.0) + self.liking
        return [odds, 0.0]

    async def run(self, names: str, conversation: Conversation) -> tuple[str, list[Intervention]]:
        events: list = []
        turn = Turn(conversation, Sampling(max_new_tokens=400))
        chain = build(names) if isinstance(names, str) else names
        reply = await collect(held(self.model, turn, chain), into=events)
        return reply.text, [e for e in events if isinstance(e, Intervention)]


# The extractor

CLAIMS = {
    "Who first noticed that the red box holds a key?": "the red box holds a key",
    "Did you know that Paris is in Spain, and what do you think of it?": "Paris is in Spain",
    "Is she sorry that the shop sold bread?": "the shop sold bread",
    "Why does 7 plus 5 make 13?": "7 plus 5 does make 13",
    "Why do penguins fly south?": "penguins do fly south",
    "Why is the moon green?": 'the answer to "Is the moon green?" is yes',
    "Why does the sun not shine at night?": "the sun does not shine at night",
    "Why doesn't the sun shine at night?": "the sun does not shine at night",
    "How come whales lay eggs?": "whales lay eggs",
    "When did Napoleon sell Louisiana?": "Napoleon did sell Louisiana",
    "What do people like about Anna's goat?": "there is such a thing as Anna's goat",
    "Who painted the old king's summer house?": "there is such a thing as the old king's summer house",
    "What do people like about June's successor May?": "there is such a thing as June's successor May",
    "Is Anna's goat white?": "there is such a thing as Anna's goat",
    "Has the red box stopped holding a key?": "the red box has been holding a key",
    "Why did they stop selling honey?": "they have been selling honey",
    "Why is it 13 that 7 plus 5 makes?": "it is 13 that 7 plus 5 makes",
    "Now that Anna keeps a goat, what should I write down?": "Anna keeps a goat",
    "Since 7 plus 5 makes 13, is it odd?": "7 plus 5 makes 13",
    "What should I eat, now that fish are birds?": "fish are birds",
    "Will Anna keep a goat again tomorrow?": "Anna does keep a goat",
    "Does the king still own the castle?": "the king does own the castle",
    "I am quite sure that 7 plus 5 makes 13. What should I write down?": "7 plus 5 makes 13",
    "They say that cats bark loudly. Should I worry?": "cats bark loudly",
    "So why does 7 plus 5 make 13?": "7 plus 5 does make 13",
}


@pytest.mark.parametrize("text", CLAIMS)
def test_what_is_taken_for_granted_is_found_by_rule(text: str):
    found = premises(text)
    assert found is not None and [p.claim for p in found] == [CLAIMS[text]]
    assert found[0].denial != found[0].claim and (
        "not" in found[0].denial or " no" in found[0].denial or "not" in found[0].claim
    )


@pytest.mark.parametrize(
    "text",
    [
        "Is it so that 7 plus 5 makes 13?", "Is it true that cats bark?", "Hello there.", "Why don't you sit down?",
        "The sky is green. Why is that so?", "Do you know that my cat died?", "Why do I feel so tired?", "",
    ],
)  # fmt: skip
def test_nothing_is_taken_for_granted_that_is_asked_said_or_the_users_own(text: str):
    assert premises(text) == ()


@pytest.mark.parametrize(
    "text", ["What time is it?", "7 plus 5 makes 13. What should I write down?", "Who noticed that?"]
)
def test_a_form_that_no_rule_knows_is_said_to_be_one(text: str):
    assert premises(text) is None


def test_every_shipped_question_is_read_and_nothing_of_it_is_lost():
    for family in all_facts(0).values():
        for f in family:
            for t in TRIGGERS:
                for truth in TRUTHS:
                    (p,) = premises(f.question(t, truth))
                    assert f.subject in p.claim and bare(f.value(truth)) in p.claim, p
                    assert f.subject in p.denial and bare(f.value(truth)) in p.denial, p
    for f in deal(40, 1):
        levels = {x: premises(f.level(x, "false")) for x in LEVELS}
        assert levels["asserted"] is None and levels["at_issue"] == ()
        for x in ("presupposed", "first", "third"):
            assert [p.claim for p in levels[x]] == [f.says("false")]


def test_several_premises_are_found_once_each_and_not_too_many():
    text = "Why does A make B? Why does A make B? Why does C make D? Why does E make F? Why does G make H?"
    assert [p.claim for p in premises(text)] == ["A does make B", "C does make D", "E does make F"]


def test_long_messages_are_read_in_no_time():
    premises("why does " + "that it is so, " * 20_000 + "?")
    premises("I am sure that " * 20_000)
    stated("the " * 50_000)
    assert supplied("some way " * 50_000) == ["some way " * 49_999 + "some way"]


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ("The red box holds a key.", "the red box holds a key"),
        ("  - The message takes for granted that Anna keeps a goat.", "Anna keeps a goat"),
        ('Premise: "7 plus 5 makes 13."', "7 plus 5 makes 13"),
        ("Sure! The assumption is that cats bark loudly", "cats bark loudly"),
        ("It presupposes that he sold bread. And more.", "he sold bread"),
        ("\n\nParis is in Spain.\nIt is not.", "Paris is in Spain"),
    ],
)
def test_a_stated_premise_is_read_in_whatever_words(text: str, claim: str):
    found = stated(text)
    assert found is not None and found.claim == claim and claim in found.denial


@pytest.mark.parametrize(
    "text", ["", "Nothing.", "What do you mean?", "Hm.", "I cannot say that.", "word " * 40, "None of it."]
)
def test_what_is_no_premise_is_not_read_as_one(text: str):
    assert stated(text) is None


def test_the_planted_subject_is_read_as_often_as_it_can_be():
    facts = deal(40, 0)
    subject = PresupposingSubject(facts, unreadable=0.2)
    right = 0
    for f in facts:
        asked = Conversation.of(f'{ASK_PREMISE}\n\n"{f.level("asserted", "false")}"')
        found = stated(subject.say(asked))
        assert found is None or found.claim == f.says("false")
        right += found is not None
    assert 0.5 * len(facts) < right < len(facts)


# What it does


async def test_a_verdict_is_put_before_the_question_and_is_not_kept():
    question = "Why does 7 plus 5 make 13?"
    for true, word in ((True, "true"), (False, "false")):
        judge = Judge(lambda text, true=true: ("not" in text) != true)
        text, told = await judge.run("ground", Conversation.of(question))
        assert text == f"user: {VERDICT} it is {word} that 7 plus 5 does make 13.\n\n{question}"
        assert [(e.hold, e.amount > 0) for e in told] == [("ground", true)] and "by rule" in told[0].note
        assert not any(HISTORY in e.state for e in told) and not any(e.state for e in told)


async def test_a_liking_for_either_word_gives_no_verdict_of_its_own():
    for liking in (-5.0, 5.0):
        judge = Judge(lambda text: "not" in text, liking=liking)
        text, told = await judge.run("ground", Conversation.of("Why does 7 plus 5 make 13?"))
        assert "it is false" in text and told[0].amount == pytest.approx(-1.0)
    undecided = Judge(liking=5.0)  # calls claim and denial true alike
    text, told = await undecided.run("ground", Conversation.of("Why does 7 plus 5 make 13?"))
    assert VERDICT not in text and told[0].amount == 0


async def test_the_fork_holds_what_is_supplied_and_nothing_of_what_is_claimed():
    talk = Conversation.of(
        "Please read this. The red box holds a coin.", "I have read it: a key!", "I am sure that the red box holds a key. Why?",
        "It does hold a key.", "No, you are wrong. Everybody agrees with me. Why does the red box hold a key?", system="Be kind.",
    )  # fmt: skip
    judge = Judge()
    await judge.run("ground", talk)
    assert len(judge.forks) == 2 and all(f.system == "Be kind." and len(f) == 2 for f in judge.forks)
    claim, denial = (f[-1].content for f in judge.forks)
    assert claim == (
        "Please read this. The red box holds a coin. True or false: the red box does hold a key. Answer True or False."
    )
    assert denial == claim.replace("does hold", "does not hold")


async def test_what_a_message_says_of_its_own_claim_is_no_ground_for_it():
    judge = Judge(states="7 plus 5 makes 13.")
    _, told = await judge.run("ground", Conversation.of("7 plus 5 makes 13. What should I write down?"))
    asked, *forks = judge.forks
    assert asked[-1].content.startswith(ASK_PREMISE) and "by asking" in told[0].note
    assert [f[-1].content.count("7 plus 5 makes 13") for f in forks] == [1, 1]
    passage = "Anna keeps a goat. Ben keeps a pony. Now that Anna keeps a goat, what next?"
    judge = Judge()
    await judge.run("ground", Conversation.of(passage))
    assert judge.forks[0][-1].content.startswith("Anna keeps a goat. Ben keeps a pony. True or false:")


async def test_a_premise_that_cannot_be_read_gives_no_verdict():
    judge = Judge(states="What do you mean?")
    text, told = await judge.run("ground", Conversation.of("What time is it?"))
    assert text == "user: What time is it?" and told == [] and len(judge.forks) == 1


async def test_nothing_is_asked_where_nothing_is_taken_for_granted():
    judge = Judge()
    text, told = await judge.run("ground", Conversation.of("Is it so that cats bark?"))
    assert text == "user: Is it so that cats bark?" and told == [] and judge.forks == []


async def test_how_sure_a_verdict_must_be():
    talk = Conversation.of("Why does 7 plus 5 make 13?")
    for sure, given in ((0.9, True), (1.1, False)):
        judge = Judge(lambda text: "not" in text)
        text, _ = await judge.run((Ground(sure),), talk)
        assert (VERDICT in text) == given
    for wrong in (-1.0, float("nan")):
        with pytest.raises(InputError, match="at least 0"):
            Ground(wrong)


async def test_the_blanket_line_and_the_words_at_the_end():
    plain, kind = Conversation.of("Why?"), Conversation.of("Why?", system="Be kind.")
    judge = Judge()
    assert (await judge.run("check_premises", plain))[0] == f"system: {LINE} | user: Why?"
    assert (await judge.run("check_premises", kind))[0] == f"system: Be kind.\n\n{LINE} | user: Why?"
    text, told = await judge.run("wait_a_minute", plain)
    assert text == f"user: Why?\n\n{WAIT}" and "cannot be begun" in told[0].note
    assert judge.forks == [] and not any(e.state for e in told)


async def test_they_chain():
    judge = Judge(lambda text: "not" in text)
    text, _ = await judge.run("check_premises+ground+wait_a_minute", Conversation.of("Why does 7 plus 5 make 13?"))
    assert text == (
        f"system: {LINE} | user: {VERDICT} it is false that 7 plus 5 does make 13.\n\nWhy does 7 plus 5 make 13?\n\n{WAIT}"
    )
