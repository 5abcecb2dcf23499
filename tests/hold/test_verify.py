"""Holds by verified state: what they put in the place of own outputs, how often a verifier errs, and what they leave alone."""

from __future__ import annotations

import pytest
from scipy.stats import binom

from homing.conversation import Conversation
from homing.engine.base import Sampling
from homing.errors import InputError
from homing.hold.base import HISTORY, Stabiliser, Turn, collect
from homing.hold.chain import available, build, held
from homing.hold.verify import (
    NOISY_PERCENT,
    UNTOUCHED,
    Checked,
    RunningSum,
    RunningSumVerifier,
    VerifiedState,
    mode_and_noise,
    read_running_sum,
    shown_under,
    total_of,
)
from homing.models.base import Intervention
from homing.models.scripted import ScriptedModel

TASK = RunningSum({"plum": 3, "fig": 4, "pear": 5}, 6)
WORDS = (("plum",), ("fig", "pear"), ("plum",), ("fig",))  # right totals 6, 9, 8, 1, 5
MODES = ("heal_verified", "reinject", "window", "restart")


def talk(*shown: object, asked: tuple[str, ...] = ("pear",), task: RunningSum = TASK) -> Conversation:
    """The opening, then words with the totals that were said, then the words that are asked."""
    c = Conversation.of(task.opening(), str(task.start))
    for words, total in zip(WORDS, shown, strict=False):
        c = c.then(task.turn(words), "user").then(str(total), "assistant")
    return c.then(task.turn(asked), "user")


WRONG = talk(2, 7, "I think 1.", 5)


async def run(hold: str | VerifiedState, conversation: Conversation):
    """What the model is shown, the history that is kept (None: as it was) and the notes."""
    seen: list[Conversation] = []
    model = ScriptedModel(lambda c: seen.append(c) or "0")
    events: list = []
    chain = build(hold) if isinstance(hold, str) else (hold,)
    reply = await collect(held(model, Turn(conversation, Sampling(max_new_tokens=4)), chain), into=events)
    assert reply.text == "0"
    told = [e for e in events if isinstance(e, Intervention)]
    kept = [e.state[HISTORY] for e in told if HISTORY in e.state]
    return seen[-1], Conversation.from_openai(kept[-1]) if kept else None, [e.note for e in told]


def own(c: Conversation) -> list[str]:
    return [m.content for m in c if m.role == "assistant"]


def test_a_running_sum_is_read_from_its_own_text() -> None:
    found = read_running_sum(WRONG)
    assert found is not None and found.task == TASK
    assert found.totals() == [6, 9, 8, 1, 5, 0]
    assert [s.shown for s in found.steps] == [6, 2, 7, 1, 5, None]
    assert found.stated() == 5
    system = Conversation((*Conversation.of(system="Be kind.").messages, *WRONG.messages))
    again = read_running_sum(system)
    assert again is not None and again.opening == 1 and again.totals() == found.totals()


def test_without_a_modulus_totals_grow_and_fall() -> None:
    task = RunningSum({"plum": -30, "fig": 44}, 0, None)
    c = Conversation.of(task.opening(), "0", task.turn(("plum", "fig")), "15", task.turn(("plum",)))
    found = read_running_sum(c)
    assert found is not None and found.task == task and found.totals() == [0, 14, -16]


def test_totals_on_a_sheet_are_the_users_words() -> None:
    sheet = f"I wrote down:\n{TASK.row(('plum',), 2)}\n{TASK.row(('fig', 'pear'), 7)}\n{TASK.turn(('fig',))}"
    found = read_running_sum(Conversation.of(TASK.opening(), "6", sheet))
    assert found is not None and found.totals() == [6, 9, 8, 2] and found.stated() == 7
    assert [s.message for s in found.steps] == [1, None, None, None]


@pytest.mark.parametrize(
    "conversation",
    [
        Conversation.of("Hello"),
        Conversation.of("Hello", "Hi", "Add: plum"),
        Conversation.of(TASK.opening(), "6"),
        Conversation.of(TASK.opening(), "6", "How are you?"),
        Conversation.of(TASK.opening(), "6", "Add: kiwi"),
        Conversation.of(TASK.opening(), "6", "Add: plum\nAdd: fig"),
        Conversation.of(TASK.opening(), "6", "Add: plum", "9", "Thank you.", "9", "Add: fig"),
        Conversation.of(TASK.opening().replace("Worth", "Wealth"), "6", "Add: plum"),
        Conversation.of(TASK.opening()).then("Add: plum", "user"),
        Conversation.of(TASK.opening(), "6").then("6", "assistant").then("Add: plum", "user"),
        Conversation(),
    ],
)
@pytest.mark.parametrize("mode", MODES)
async def test_what_is_no_running_sum_passes_untouched(mode: str, conversation: Conversation) -> None:
    if len(conversation) and conversation[-1].role == "user":
        seen, kept, notes = await run(mode, conversation)
        assert seen == conversation and kept is None and notes == [UNTOUCHED]
    else:
        assert build(mode)[0].shown(conversation) is None
    assert shown_under(mode, conversation) == conversation


@pytest.mark.parametrize(
    ("text", "total"),
    [
        ("7", 7),
        (" 7. ", 7),
        ("-12", -12),
        ("The new total is 5.", 5),
        ("Total: 5", 5),
        ("The last total was 4, so the new total is 5", 5),
        ("4 + 1 = 5", 5),
        ("4 + 1 = 5. The new total is 5.", 5),
        ("= 9", 9),
        ("9 and 9 again", 9),
        ("5 !!", 5),
        ("4 or 5", None),
        ("none", None),
        ("", None),
        ("=", None),
        ("9" * 5000, None),
        ("total " + "9" * 5000, None),
    ],
)
def test_totals_are_read_from_replies(text: str, total: int | None) -> None:
    assert total_of(text) == total


async def test_heal_replaces_what_is_wrong_and_keeps_it() -> None:
    seen, kept, notes = await run("heal_verified", WRONG)
    assert own(seen) == ["6", "9", "8", "I think 1.", "5"]  # what is right stays word for word
    assert kept == seen and notes == ["2 replies replaced"]
    assert [m.content for m in seen if m.role == "user"] == [m.content for m in WRONG if m.role == "user"]
    again, kept, _ = await run("heal_verified", seen)
    assert again == seen and kept is None, "what is healed is not healed again"


async def test_reinject_says_the_state_before_the_users_message() -> None:
    seen, kept, _ = await run("reinject", WRONG)
    assert seen.messages[:-1] == WRONG.messages[:-1] and kept is None
    assert seen[-1].content.startswith("The total so far is 5.") and seen[-1].content.endswith("\nAdd: pear")
    found = read_running_sum(seen)
    assert found is not None and found.told == 5 and found.totals()[-1] == 0
    found = read_running_sum((await run("reinject", talk(2, 7)))[0])
    assert found is not None and found.stated() == 8, "what was checked goes before what is shown"


async def test_a_window_shows_the_last_turns_and_verifies_nothing() -> None:
    seen, kept, _ = await run("window", WRONG)
    assert own(seen) == ["7", "I think 1.", "5"] and kept is None
    found = read_running_sum(seen)
    assert found is not None and found.task.start == 7 and found.stated() == 5
    for short in (talk(), talk(2), talk(2, 7)):
        assert (await run("window", short))[0] == short


async def test_restart_begins_from_the_verified_state() -> None:
    seen, kept, _ = await run("restart", WRONG)
    assert kept is None and own(seen) == ["5"] and len(seen) == 3 and seen[-1].content == "Add: pear"
    found = read_running_sum(seen)
    assert found is not None and found.task.start == 5 and found.totals()[-1] == 0
    sheet = f"I wrote down:\n{TASK.row(('plum',), 2)}\nAdd: fig\nFirst write the sum."
    seen, _, _ = await run("restart", Conversation.of(TASK.opening(), "6", sheet, system="Be kind."))
    assert seen.system == "Be kind." and own(seen) == ["9"] and seen[-1].content == "Add: fig\nFirst write the sum."


@pytest.mark.parametrize("mode", MODES)
async def test_a_conversation_that_has_just_begun_is_left_as_it_is(mode: str) -> None:
    seen, _, _ = await run(mode, talk())
    assert seen.messages[:-1] == talk().messages[:-1] and seen[-1].content.endswith("Add: pear")


async def test_clean_history_is_healed_to_itself() -> None:
    clean = talk(9, 8, 1, 5)
    seen, kept, notes = await run("heal_verified", clean)
    assert seen == clean and kept is None and notes == []


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 1.0])
def test_a_verifier_errs_at_its_rate_and_stands_by_what_it_said(rate: float) -> None:
    verifier, wrong, n = RunningSumVerifier(rate), 0, 0
    for k in range(200):
        task = RunningSum({"plum": 1 + k % 9, "fig": 1 + k // 9}, k % 10)
        c = Conversation.of(task.opening(), str(task.start))
        said: list[int] = []
        for word in ("plum", "fig", "plum"):
            c = c.then(task.turn((word,)), "user")
            found = read_running_sum(c)
            assert found is not None
            believed = verifier.believed(found)
            assert believed[0] == task.start and believed[1:-1] == said
            said = believed[1:]
            wrong += believed[-1] != found.totals()[-1]
            n += 1
            c = c.then("0", "assistant")
    assert binom.ppf(0.0005, n, rate) <= wrong <= binom.ppf(0.9995, n, rate)


async def test_a_verifier_is_an_argument() -> None:
    class Shouts:
        def check(self, conversation: Conversation) -> Checked | None:
            return Checked({1: "SO"}, "It is so.", Conversation.of("again"))

        def cut(self, conversation: Conversation, turns: int) -> Conversation | None:
            return None

    c = Conversation.of("a", "b", "c")
    (hold,) = build("heal_verified", verifier=Shouts())
    assert own((await run(hold, c))[0]) == ["SO"]
    assert (await run(VerifiedState("reinject", Shouts()), c))[0][-1].content == "It is so.\nc"
    assert (await run(VerifiedState("restart", Shouts()), c))[0] == Conversation.of("again")
    assert (await run(VerifiedState("window", Shouts()), c))[0] == c


def test_names_modes_and_error_rates() -> None:
    noisy = [f"{m}_noisy{p}" for m in ("heal_verified", "reinject", "restart") for p in NOISY_PERCENT]
    assert {*MODES, *noisy} <= set(available())
    for name in (*MODES, *noisy):
        (hold,) = build(name)
        assert hold.name == name and isinstance(hold, Stabiliser) and not hold.needs
    assert mode_and_noise("restart_noisy50") == ("restart", 0.5) and mode_and_noise("reinject") == ("reinject", 0.0)
    assert mode_and_noise("window") is None and mode_and_noise("heal") is None
    assert mode_and_noise("restart_noisy51") is None


def test_chains_show_what_all_of_them_show() -> None:
    seen = shown_under("heal_verified+sham+reinject", WRONG)
    assert own(seen) == ["6", "9", "8", "I think 1.", "5"] and "so far is 5" in seen[-1].content


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="use one of heal_verified"):
        VerifiedState("heal")
    with pytest.raises(InputError, match="at least 1"):
        VerifiedState("window", turns=0)
    with pytest.raises(InputError, match="0 to 1"):
        RunningSumVerifier(1.5)
