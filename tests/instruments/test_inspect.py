"""Instruments through Inspect: the same findings as directly, choices with letters, and the provider of local models."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

pytest.importorskip("inspect_ai")

from inspect_ai import eval as run_tasks
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessageAssistant,
    Logprob,
    Logprobs,
    ModelOutput,
    ModelUsage,
    TopLogprob,
    get_model,
)
from tests.instruments.tiny_instrument import TINY

from homing.conversation import Conversation
from homing.engine.base import Act, Sampling
from homing.errors import InputError, Unsupported
from homing.instruments.inspect_tasks import instrument_task, scored_of
from homing.models.inspected import DRAWS, InspectModel, conversation_of, lettered, letters_of, messages


def said(text: str, tops: dict[str, float] | None = None) -> ModelOutput:
    """An output, with the probabilities of its first token where they are given."""
    logprobs = None
    if tops is not None:
        first = Logprob(
            token=max(tops, key=tops.__getitem__), logprob=0.0,
            top_logprobs=[TopLogprob(token=k, logprob=math.log(p)) for k, p in tops.items()],
        )  # fmt: skip
        logprobs = Logprobs(content=[first])
    message = ChatMessageAssistant(content=text)
    choice = ChatCompletionChoice(message=message, stop_reason="stop", logprobs=logprobs)
    usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)  # else Inspect fetches a tokenizer to count
    return ModelOutput(model="mock", choices=[choice], usage=usage)


def mock(*outputs: ModelOutput | str) -> InspectModel:
    made = [o if isinstance(o, ModelOutput) else said(o) for o in outputs]
    return InspectModel(get_model("mockllm/model", custom_outputs=made, memoize=False))


ASKED = Conversation.of("Which?", system="Be kind.")


async def test_a_choice_is_read_from_the_first_token_in_both_orders() -> None:
    # the option "x" is A in the first order and B in the second; a preference for the letter A cancels
    model = mock(said("A", {"A": 0.7, " B": 0.1, "The": 0.2}), said("A", {"A": 0.5, "B)": 0.3}))
    found = await model.choose(ASKED, ["x", "y"])
    assert found.exact and found.mass == pytest.approx((0.7 + 0.3 + 0.1 + 0.5) / 2)
    assert found.probabilities == pytest.approx(((0.7 + 0.3) / 1.6, (0.1 + 0.5) / 1.6))


async def test_without_probabilities_it_is_drawn_and_says_so() -> None:
    outputs = ["A"]  # asked for probabilities once, and given none
    outputs += ["A"] * DRAWS + ["I would rather not."] * 4 + ["B."] * (DRAWS - 4)
    found = await mock(*outputs).choose(ASKED, ["x", "y"])
    assert not found.exact
    assert found.probabilities == pytest.approx((1.0, 0.0)) and found.mass == pytest.approx(
        (DRAWS + DRAWS - 4) / DRAWS / 2
    )


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("A", 0),
        (" b)", 1),
        ("(C) is it", None),
        ("(B) is it", 1),
        ("Banana", None),
        ("", None),
        ("**A**", 0),
        ("a cat", 0),
    ],
)
def test_letters(text: str, letter: int | None) -> None:
    assert letters_of(text, 2) == letter


def test_conversations_go_to_inspect_and_back() -> None:
    c = Conversation.of("Hello", "Hi", "Which?", system="Be kind.")
    assert conversation_of(messages(c)) == c
    assert (
        lettered(c, ["x", "y"])[-1].content
        == "Which?\n\nA) x\nB) y\n\nWhich of these would you say? Answer with one letter."
    )
    with pytest.raises(InputError, match="a tool message"):
        messages(Conversation.of("x").then("y", "tool"))


async def test_replies_are_inspects_and_acts_are_refused() -> None:
    model = mock("first", "second")
    reply = await model.reply(ASKED, sampling=Sampling(8))
    assert reply.text == "first" and reply.finish == "stop"
    with pytest.raises(Unsupported, match="needs weights"):
        await model.reply(ASKED, acts=(Act("floor", "d", (1,), (0.0,)),))
    with pytest.raises(Unsupported, match="log-probability of a given text"):
        await model.score_replies([ASKED], [["x"]])


def test_a_task_plays_scores_and_estimates(tmp_path: Path) -> None:
    outputs = [said("yes") if k % 4 else said("no") for k in range(40)]
    model = get_model("mockllm/model", custom_outputs=outputs, memoize=False)
    (log,) = run_tasks(
        instrument_task(TINY), model=model, log_dir=str(tmp_path), display="none", max_samples=1, log_format="json"
    )
    assert log.status == "success", log.error
    scored = scored_of(log)
    assert len(scored) == 20
    (finding,) = TINY.estimate(scored)
    values = {k: m.value for s in log.results.scores for k, m in s.metrics.items()}
    assert any(v == pytest.approx(finding.estimates["rate"].value) for v in values.values()), values
    assert finding.estimates["rate"].value == pytest.approx(0.75)
