"""watch: one line a turn by the contract, and every bad input is one sentence."""

from __future__ import annotations

import gc
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.cli.schemas import validate
from tests.verbs.tiny_map import Mapped, save_model

from homing.conversation import Conversation
from homing.engine.base import Direction
from homing.errors import IdentityError, InputError
from homing.hold.cap import Cap
from homing.identity import Identity
from homing.models.base import Reply, ReplyRequest
from homing.models.sources import wrap
from homing.testing.tiny import MARKER, planted_model, tiny_llama
from homing.verbs.transcripts import Transcript
from homing.verbs.watch import Home, _opened, watch_conversation, watch_file

TALK = [
    {"role": "user", "content": "Hello there"},
    {"role": "assistant", "content": "abc"},
    {"role": "user", "content": "And now?"},
    {"role": "assistant", "content": "dfe"},
]
ROLE = [{"role": "system", "content": f"{MARKER} You are number 3."}, *TALK]


def lines_of(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows) + "\n")
    return path


def check(line: dict[str, Any]) -> None:
    json.dumps(line, allow_nan=False)
    validate("watch-error" if "error" in line else "watch", line)


def test_one_line_a_turn_by_the_contract(mapped: Mapped, tmp_path: Path) -> None:
    p = lines_of(tmp_path / "t.jsonl", {"id": "mine", "messages": TALK}, {"messages": TALK})
    lines = list(watch_file(p, mapped.home))
    for line in lines:
        check(line)
    assert [(x["conversation"], x["turn"]) for x in lines] == [("mine", 1), ("mine", 2), ("2", 1), ("2", 2)]
    assert [x["drift"]["value"] for x in lines if x["turn"] == 1] == [0.0, 0.0]
    assert all(x["position"]["low"] <= x["position"]["value"] <= x["position"]["high"] for x in lines)
    assert [x["tokens"] for x in lines[:2]] == [3, 3]
    # the same text is at the same place whatever it is called
    assert [x["position"] for x in lines[:2]] == [x["position"] for x in lines[2:]]


def test_a_role_stands_far_from_home_and_the_promise_is_withdrawn(mapped: Mapped, tmp_path: Path) -> None:
    p = lines_of(tmp_path / "t.jsonl", {"id": "home", "messages": TALK}, {"id": "role", "messages": ROLE})
    at = {x["conversation"]: x for x in watch_file(p, mapped.home)}
    assert at["home"]["position"]["value"] > 0.5
    assert at["role"]["position"]["value"] < 0.5
    assert any("system prompt" in w for w in at["role"]["warnings"])


def test_a_model_that_leaves_home_in_mid_conversation_drifts_and_alarms(mapped: Mapped, tmp_path: Path) -> None:
    """The marker in a user turn switches the role on: later turns differ from the same message asked afresh."""
    home = Identity.load(mapped.home).section("persona").data["home_system"]
    head = [] if home is None else [{"role": "system", "content": home}]
    gone = [*head, {"role": "user", "content": f"Be {MARKER}"}, TALK[1], TALK[2], TALK[3]]
    (quiet, still), (_, moved) = (
        list(watch_file(lines_of(tmp_path / f"{k}.jsonl", {"messages": m}), mapped.home))
        for k, m in (("a", [*head, *TALK]), ("b", gone))
    )
    assert moved["drift"]["value"] < -0.5
    assert moved["alarms"]
    assert all(a["statistic"] > a["threshold"] and a["turn"] == 2 for a in moved["alarms"])
    assert not quiet["alarms"]
    assert abs(still["drift"]["value"]) < abs(moved["drift"]["value"])
    assert not still["alarms"]


def test_bad_lines_become_error_objects_and_the_rest_is_read(mapped: Mapped, tmp_path: Path) -> None:
    p = lines_of(
        tmp_path / "t.jsonl",
        '{"messages": [',
        {"id": "robot", "messages": [{"role": "robot", "content": "x"}, *TALK]},
        {"id": "empty", "messages": [{"role": "user", "content": ""}, TALK[1]]},
        {"id": "good", "messages": TALK},
    )
    lines = list(watch_file(p, mapped.home))
    for line in lines:
        check(line)
    assert [x["conversation"] for x in lines] == ["1", "robot", "empty", "good", "good"]
    assert ["error" in x for x in lines] == [True, True, True, False, False]
    assert all("\n" not in x["error"]["message"] for x in lines[:3])


def test_held_replies_are_made_again_and_say_what_was_engaged(mapped: Mapped, tmp_path: Path) -> None:
    p = lines_of(tmp_path / "t.jsonl", {"id": "r", "messages": ROLE})
    lines = list(watch_file(p, mapped.home, hold="cap"))
    for line in lines:
        check(line)
    assert [x["turn"] for x in lines] == [1, 2]
    assert sum(x["engaged_tokens"] for x in lines) > 0
    again = list(watch_file(p, mapped.home, hold="cap"))
    assert again == lines  # the same seeds, the same bytes


def test_longer_than_the_context_is_windowed_and_says_so(
    mapped: Mapped, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    long = [m for i in range(12) for m in ({"role": "user", "content": "x" * 300 + str(i)}, {**TALK[1]})]
    p = lines_of(tmp_path / "t.jsonl", {"id": "long", "messages": long})
    with caplog.at_level(logging.WARNING, logger="homing"):
        lines = list(watch_file(p, mapped.home))
    for line in lines:
        check(line)
    assert 1 <= len(lines) < 12
    assert lines[-1]["turn"] == 12
    assert "messages are left out of the reading" in caplog.text
    first = lines[0]["turn"] - 1
    assert all(f"the first {first} replies were left out" in " ".join(x["warnings"]) for x in lines)


def test_an_alarm_in_a_windowed_conversation_names_the_turn_of_the_transcript(mapped: Mapped, tmp_path: Path) -> None:
    long = [m for i in range(12) for m in ({"role": "user", "content": "x" * 300 + str(i)}, {**TALK[1]})]
    long[20]["content"] = f"{MARKER} " + "x" * 200
    lines = list(watch_file(lines_of(tmp_path / "t.jsonl", {"messages": long}), mapped.home))
    alarms = [(x["turn"], a["turn"]) for x in lines for a in x["alarms"]]
    assert alarms
    assert all(line == alarm for line, alarm in alarms)
    assert {11, 12} & {a for _, a in alarms}


def test_one_message_longer_than_the_context_is_an_error_line_and_the_rest_is_read(
    mapped: Mapped, tmp_path: Path
) -> None:
    p = lines_of(
        tmp_path / "t.jsonl",
        {"id": "huge", "messages": [{"role": "user", "content": "x" * 5000}, TALK[1]]},
        {"id": "tail", "messages": [*TALK[:2], {"role": "user", "content": "y" * 2045}, TALK[1]]},
        {"id": "good", "messages": TALK},
    )
    lines = list(watch_file(p, mapped.home))
    for line in lines:
        check(line)
    assert [x["conversation"] for x in lines] == ["huge", "tail", "good", "good"]
    assert "context" in lines[0]["error"]["message"]


def test_ten_megabytes_of_text_do_not_stop_the_rest(mapped: Mapped, tmp_path: Path) -> None:
    p = lines_of(
        tmp_path / "t.jsonl",
        {"id": "over", "messages": [TALK[0], {"role": "assistant", "content": "x" * 10_000_001}]},
        {"id": "good", "messages": TALK},
    )
    lines = list(watch_file(p, mapped.home))
    assert "over 10,000,000 bytes" in lines[0]["error"]["message"]
    assert [x["conversation"] for x in lines] == ["over", "good", "good"]


def test_what_cannot_be_used_is_refused_at_once(mapped: Mapped, tmp_path: Path) -> None:
    p = lines_of(tmp_path / "t.jsonl", {"messages": TALK})
    with pytest.raises(InputError, match="hold 'rope' is unknown; use cap or none"):
        list(watch_file(p, mapped.home, hold="rope"))
    with pytest.raises(InputError, match="does not exist"):
        list(watch_file(tmp_path / "none.jsonl", mapped.home))
    with pytest.raises(IdentityError, match="no identity in"):
        list(watch_file(p, tmp_path))
    other = save_model(planted_model(seed=9), tmp_path / "other")
    with pytest.raises(IdentityError, match="belongs to"):
        list(watch_file(p, mapped.home, model=str(other)))


@pytest.mark.parametrize("how", ["kind", "direction"])
def test_a_flipped_cap_is_refused_at_load(mapped: Mapped, tmp_path: Path, how: str) -> None:
    """Both ways of turning a cap over, and neither gives a line; without the hold the identity is read as ever."""
    section = mapped.identity.section("cap")
    cap = Cap.from_section(section.data["cap"], section.arrays)
    over = Direction("over", cap.direction.layers, -cap.direction.vectors)
    turned = replace(cap, kind="ceiling") if how == "kind" else replace(cap, direction=over)
    data, arrays = turned.to_section()
    made = replace(section, data={**section.data, "cap": data}, arrays={**section.arrays, **arrays})
    home = mapped.identity.with_section("cap", made).save(tmp_path / "turned")
    p = lines_of(tmp_path / "t.jsonl", {"messages": TALK})
    with pytest.raises(IdentityError, match=r"is refused: cap .* lowers what it should raise.* run `homing map` again"):
        next(watch_file(p, home, hold="cap"))
    assert len(list(watch_file(p, home))) == 2
    import homing

    with homing.open(str(mapped.model)) as model, pytest.raises(IdentityError, match="lowers what it should raise"):
        homing.Identity.load(home).watch(Conversation.from_openai(TALK), model=model, hold=("cap",))


def test_a_cap_that_does_not_arrive_in_this_model_is_refused_at_load(
    mapped: Mapped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cap may point the right way and still do nothing, where acts are not what the model sees."""
    from homing.models.local import LocalModel

    p = lines_of(tmp_path / "t.jsonl", {"messages": TALK})
    real = LocalModel.read

    async def deaf(self: LocalModel, conversation: Conversation, **more: Any) -> Any:
        return await real(self, conversation, **{**more, "acts": ()})

    monkeypatch.setattr(LocalModel, "read", deaf)
    with pytest.raises(IdentityError, match="lowers what it should raise"):
        next(watch_file(p, mapped.home, hold="cap"))


def test_an_identity_without_a_cap_or_with_a_broken_section_is_refused(mapped: Mapped, tmp_path: Path) -> None:
    sections = {k: s for k, s in mapped.identity.sections.items() if k != "cap"}
    Identity(mapped.identity.model, sections).save(tmp_path / "free")
    p = lines_of(tmp_path / "t.jsonl", {"messages": TALK})
    with pytest.raises(IdentityError, match="has no cap"):
        list(watch_file(p, tmp_path / "free", hold="cap"))
    persona = mapped.identity.section("persona")
    data = {k: v for k, v in persona.data.items() if k != "scale"}
    Identity(mapped.identity.model, {**sections, "persona": type(persona)(1, data, persona.arrays)}).save(
        tmp_path / "broken"
    )
    with pytest.raises(IdentityError, match="lacks 'scale'"):
        Home.load(tmp_path / "broken")


def test_a_conversation_of_the_api_and_of_a_file_are_read_alike(mapped: Mapped, tmp_path: Path) -> None:
    import homing

    p = lines_of(tmp_path / "t.jsonl", {"id": "conversation", "messages": TALK})
    from_file = list(watch_file(p, mapped.home))
    identity = homing.Identity.load(mapped.home)
    with homing.open(str(mapped.model)) as model:
        lines = identity.watch(Conversation.from_openai(TALK), model=model)
    assert lines == from_file
    wrong = tiny_llama(seed=4)
    with homing.wrap(*wrong) as model, pytest.raises(IdentityError, match="belongs to"):
        identity.watch(Conversation.from_openai(TALK), model=model)


async def test_a_fresh_reply_may_be_as_long_as_the_given_one(mapped: Mapped, tmp_path: Path) -> None:
    """A long mean beside a short one would differ by length alone; lengths never calibrated are said."""
    home = Home.load(mapped.home)
    seen: list[ReplyRequest] = []
    longest = home.calibration.longest
    talk = Conversation.from_openai([*TALK[:3], {"role": "assistant", "content": "abcdef" * longest}])
    short = Conversation.from_openai([*TALK[:3], {"role": "assistant", "content": "a" * longest}])
    planted = planted_model(strength=4.0)
    model = wrap(planted.model, planted.tokenizer, name="planted")
    real = model.replies

    async def watched(requests: list[ReplyRequest]) -> list[Reply]:
        seen.extend(requests)
        return await real(requests)

    model.replies = watched  # type: ignore[method-assign]
    try:
        lines, _ = await watch_conversation(model, home, Transcript("t", talk, "", 1))
        assert [r.sampling.max_new_tokens for r in seen] == [lines[1]["tokens"]]
        assert lines[1]["tokens"] > longest
        assert any("outside the calibrated" in w for w in lines[1]["warnings"])
        seen.clear()
        await watch_conversation(model, home, Transcript("t", short, "", 1))
        assert [r.sampling.max_new_tokens for r in seen] == [home.reply_tokens]
    finally:
        await model.close()


def test_a_task_that_an_interrupt_left_is_not_run_on_a_closed_model(
    mapped: Mapped, caplog: pytest.LogCaptureFixture
) -> None:
    """Ctrl-C between the making of a task and its run leaves it behind: its end is nobody's to hear of."""
    ran: list[str] = []

    async def left() -> None:
        ran.append("left")
        raise IdentityError("the model was closed")

    opened = lambda: wrap(mapped.planted.model, mapped.planted.tokenizer)  # noqa: E731
    with pytest.raises(KeyboardInterrupt), _opened(Identity.load(mapped.home), opened) as (_, _, runner):
        runner.get_loop().create_task(left())
        raise KeyboardInterrupt
    gc.collect()
    assert ran == [] and not [r for r in caplog.records if r.name == "asyncio"]
