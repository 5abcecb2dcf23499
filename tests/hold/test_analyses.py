from __future__ import annotations

import pytest

from homing.conversation import Conversation
from homing.errors import InputError
from homing.hold.analyses import ANALYSE, Analyses, asks_how_sure, confidence_in
from homing.hold.base import Turn, collect
from homing.hold.chain import available, held, traits
from homing.models.base import Event, Intervention, Token
from homing.models.scripted import ScriptedModel

ASKED = Conversation.of("What is 2 plus 2?", "4", "How sure are you? Reply with a percentage.")


def test_confidences_are_read_in_every_usual_form() -> None:
    for text in ("85%", "85 %", "85", "About 85 percent.", "0.85", ".85", "85 out of 100", "85/100", "17/20", "I'd say 85%.",
                 "85%. Yes, 85%."):  # fmt: skip
        assert confidence_in(text) == pytest.approx(0.85), text
    assert [confidence_in(x) for x in ("0%", "100%", "1.0", "0.5%")] == [0.0, 1.0, 1.0, 0.005]
    for text in ("", "Quite sure.", "150%", "20% to 80%", "20-30%", "20% - 30%", "-5%", "3 out of 0", "1,000", "7.5.1"):
        assert confidence_in(text) is None, text


def test_only_questions_about_certainty_are_taken_for_such() -> None:
    for text in ("How likely is it that this is right?", "how sure are you", "State your confidence.",
                 "Give a probability for it.", "What is your confidence in that?"):  # fmt: skip
        assert asks_how_sure(text), text
    for text in ("What is 2 plus 2?", "How are you?", "I am sure that it rains.", "Explain probability theory."):
        assert not asks_how_sure(text), text


class Noisy(ScriptedModel):
    """Says what it thinks of each analysis in its turn."""

    def __init__(self, *said: str) -> None:
        self.asked: list[Conversation] = []
        self.said, self.n = said, 0
        super().__init__(self.next_reply)

    def next_reply(self, c: Conversation) -> str:
        self.asked.append(c)
        if c[-1].content == ANALYSE:
            return f"thought {sum(x[-1].content == ANALYSE for x in self.asked)}"
        self.n += 1
        return self.said[(self.n - 1) % len(self.said)]


async def run(model: ScriptedModel, conversation: Conversation = ASKED, **how: int) -> tuple[str, list[Event]]:
    events: list[Event] = []
    reply = await collect(held(model, Turn(conversation), [Analyses(**how)]), into=events)
    return reply.text, events


async def test_the_mean_over_analyses_is_said() -> None:
    model = Noisy("60%", "80%", "100%", "no idea")
    text, events = await run(model)
    assert text == "80%" and [e.text for e in events if isinstance(e, Token)] == ["80%"]
    (note,) = [e for e in events if isinstance(e, Intervention)]
    assert note.amount == pytest.approx(0.8) and "3 of 4 analyses" in note.note and not note.state
    forks = [c for c in model.asked if c[-1].content != ANALYSE]
    assert len(forks) == 4 and all(
        c[-1] == ASKED[-1] and c[-4:-2] == Conversation((ASKED[1], c[-3]))[-4:] for c in forks
    )
    assert sorted(c[-2].content for c in forks) == [f"thought {k}" for k in range(1, 5)], "a fork each"


async def test_other_messages_and_a_first_message_are_left_alone() -> None:
    for c in (Conversation.of("What is 2 plus 2?"), Conversation.of("How sure are you that it rains?")):
        model = Noisy("4")
        text, events = await run(model, c)
        assert text == "4" and model.asked == [c] and not any(isinstance(e, Intervention) for e in events)


async def test_without_any_number_the_question_is_put_as_it_was() -> None:
    model = Noisy("hm", "hm", "who knows")
    text, events = await run(model, k=2)
    assert text == "who knows" and model.asked[-1] == ASKED
    assert any("put as it was" in e.note for e in events if isinstance(e, Intervention))


def test_it_is_known_by_name_and_refuses_what_cannot_be() -> None:
    assert "analyses" in available() and traits("analyses") == [frozenset({"asks"})]
    with pytest.raises(InputError, match="k of analyses is 0"):
        Analyses(k=0)
    with pytest.raises(InputError, match="temperature of analyses is 0"):
        Analyses(temperature=0)
