"""A model behind a bad endpoint: every failure ends in a state of the finding or in one sentence, and nothing is paid twice."""

from __future__ import annotations

import json
import math
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.cli.running import objects, run
from tests.cli.schemas import validate
from tests.instruments.tiny_instrument import Tiny
from tests.verbs.upstream import KEY, MODEL, Serve, make_quick, paid_twice, server

from homing.conversation import Conversation
from homing.engine.base import Sampling
from homing.errors import HomingError, MissingExtra, ModelError
from homing.instruments import registry
from homing.instruments.base import Ask, Cell, Edit
from homing.models import inspected
from homing.models.account import settled
from homing.testing import upstream
from homing.testing.planted_self_conditioning import TotalKeeper
from homing.testing.upstream import ANSWER, CUT, EMPTY, HANG_UP, OVERFLOW, REFUSE, Deed, Upstream, behind
from homing.verbs.proving import TestPlan, run_test

pytest.importorskip("inspect_ai")
WAITED = pytest.importorskip("openai")._base_client.BaseClient._calculate_retry_timeout

ASKED = Conversation.of("Well?")


class Talks(Tiny):
    """Three questions a conversation, so that it can break off between two of them."""

    name = "talks"

    def edit(self, cell: Cell) -> Edit:
        c, texts = Conversation(), []
        for k in range(3):
            asked = c.then(f"{cell.data['question']} ({k})", "user")
            (answer,) = yield [Ask(asked, sampling=Sampling(4, seed=cell.seed))]
            texts.append(answer.text)
            c = answer.conversation
        return {"text": texts[-1]}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    make_quick(monkeypatch)
    monkeypatch.setattr(registry, "_registry", lambda: {"tiny": Tiny, "talks": Talks})


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    return server(monkeypatch)


def measured(tmp_path: Path, only: Sequence[str] = ("tiny",)) -> dict[str, Any]:
    found = run_test(TestPlan(MODEL, out=tmp_path, only=only, holds=["none"]))
    validate("test", found)
    return found


def refused(tmp_path: Path, only: Sequence[str] = ("tiny",)) -> str:
    """The one sentence."""
    started = time.monotonic()
    with pytest.raises(HomingError) as e:
        run_test(TestPlan(MODEL, out=tmp_path, only=only, holds=["none"]))
    assert e.value.exit_code == 2 and time.monotonic() - started < 40
    text = str(e.value)
    assert "\n" not in text and "Traceback" not in text and KEY not in text, text
    return text


def test_a_good_one_is_measured(tmp_path: Path, serve: Serve) -> None:
    with serve(Upstream(script=[Deed(usage=False)])) as up:
        found = measured(tmp_path)
        row = found["findings"][0]
        assert row["figure"]["value"] == 1.0 and row["figure"]["n"] == 20
        assert row["cost"]["calls"] == 20 and row["cost"]["new_tokens"] == 20
        assert up.paid == 20 and {a.key for a in up.asked} == {KEY}
        assert measured(tmp_path) == found and up.paid == 20
        assert not list(tmp_path.rglob("paid.jsonl"))


def test_nobody_there(tmp_path: Path) -> None:
    assert "cannot be reached" in refused(tmp_path)


@pytest.mark.parametrize(
    ("deed", "says"),
    [
        (upstream.fails(401, "invalid_api_key"), "refuses the key (status 401)"),
        (upstream.fails(403), "refuses the key (status 403)"),
        (upstream.fails(404, "model_not_found"), "no such model or no such address (status 404)"),
        (upstream.fails(400, "odd_parameter"), "refuses what it is asked (status 400: odd_parameter (400)"),
        (upstream.busy(0.01), "stays busy (status 429)"),
        (upstream.fails(500), "keeps failing (status 500)"),
        (upstream.fails(503), "keeps failing (status 503)"),
        (HANG_UP, "closes the connection"),
        (CUT, "closes the connection"),
        (upstream.garbage(), "no completion"),
        (upstream.garbage(b"{"), "no completion"),
        (upstream.garbage(b'{"object": "list", "data": []}'), "no completion"),
        (upstream.garbage(b'"hello"'), "no completion"),
        (upstream.garbage(b""), "no completion"),
    ],
)
async def test_what_persists_is_one_sentence(serve: Serve, deed: Deed, says: str) -> None:
    with serve(Upstream(rule=lambda n: deed)) as up:
        model = inspected.open_provider(MODEL)
        for _ in range(2):
            with pytest.raises(ModelError) as e:
                await model.reply(ASKED)
            text = str(e.value)
            assert says in text and up.url in text and "\n" not in text and KEY not in text
        assert 1 <= len(up.asked) <= 6  # by the client and by Inspect, and not again when it is known to be in vain
        await model.close()


@pytest.mark.parametrize("deed", [upstream.fails(401), upstream.fails(500), upstream.garbage(), HANG_UP])
def test_through_inspect_it_is_the_same_sentence(tmp_path: Path, serve: Serve, deed: Deed) -> None:
    with serve(Upstream(rule=lambda n: deed)) as up:
        text = refused(tmp_path)
        assert up.url in text and "run the same command to go on" in text and len(up.asked) < 200


def test_time_outs_are_one_sentence(tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspected, "ATTEMPT_SECONDS", 1)
    with serve(Upstream(rule=lambda n: upstream.late(90))):
        assert "does not answer in time" in refused(tmp_path)


def test_a_completion_is_paid_before_it_is_read(serve: Serve) -> None:
    """Who counts right after its answer must not meet a count that comes later: the service has threads of its own."""
    asked = json.dumps({"model": "x", "messages": [{"role": "user", "content": "Well?"}]}).encode()
    with serve(Upstream()) as up:
        for n in range(200):
            request = urllib.request.Request(f"{up.url}/chat/completions", asked, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request) as response:
                response.read()
            assert up.paid == n + 1


@pytest.mark.parametrize("deed", [upstream.busy(0.01), upstream.fails(500), upstream.fails(503), HANG_UP, CUT])
async def test_what_passes_is_recovered_from(serve: Serve, deed: Deed) -> None:
    with serve(Upstream(script=[ANSWER, deed, ANSWER, deed, deed])) as up:
        model = inspected.open_provider(MODEL)
        for _ in range(3):
            assert (await model.reply(ASKED)).text == "Yes."
        assert up.paid == 3 and len(up.asked) == 6
        await model.close()


def test_through_inspect_what_passes_is_recovered_from(tmp_path: Path, serve: Serve) -> None:
    with serve(Upstream(script=[ANSWER, CUT, upstream.busy(0.01), ANSWER, upstream.fails(500), HANG_UP])) as up:
        assert measured(tmp_path)["findings"][0]["figure"]["n"] == 20
        assert up.paid == 20 and len(up.asked) == 24 and not paid_twice(up)


async def test_when_to_come_back_is_heeded(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    import openai

    monkeypatch.setattr(openai._base_client.BaseClient, "_calculate_retry_timeout", WAITED)
    with serve(Upstream(script=[upstream.busy(0.3)])) as up:
        model = inspected.open_provider(MODEL)
        started = time.monotonic()
        assert (await model.reply(ASKED)).text == "Yes."
        assert 0.3 <= time.monotonic() - started < 3 and len(up.asked) == 2
        await model.close()


def test_a_late_answer_is_asked_for_again(tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspected, "ATTEMPT_SECONDS", 1)
    with serve(Upstream(script=[ANSWER, upstream.late(90)])) as up:
        assert measured(tmp_path)["findings"][0]["figure"]["n"] == 20
        assert len(up.asked) == 21


@pytest.mark.parametrize(
    ("deed", "state"),
    [(REFUSE, "20 refused"), (EMPTY, "20 empty"), (OVERFLOW, "20 too long")],
)
def test_what_is_no_answer_is_a_state_with_a_reason(tmp_path: Path, serve: Serve, deed: Deed, state: str) -> None:
    with serve(Upstream(rule=lambda n: deed)):
        (row,) = measured(tmp_path)["findings"]
    assert row["figure"] is None and row["regime"] == "not_measurable"
    assert "0 of 20 replies" in row["reason"] and state in row["reason"]


def test_a_model_that_ignores_the_format_is_a_state_with_a_reason(tmp_path: Path, serve: Serve) -> None:
    with serve(Upstream(rule=lambda n: upstream.says("It depends on many things."))):
        (row,) = measured(tmp_path)["findings"]
    assert row["regime"] == "not_measurable" and "0 of 20 replies are in the asked format" in row["reason"]


@pytest.mark.parametrize("breaks_at", [1, 31])
def test_after_a_failure_no_call_is_paid_twice(tmp_path: Path, serve: Serve, breaks_at: int) -> None:
    down = [False]

    def rule(n: int) -> Deed:
        down[0] = down[0] or n == breaks_at
        return upstream.fails(401) if down[0] else ANSWER

    with serve(Upstream(rule=rule)) as up:
        assert "refuses the key" in refused(tmp_path, ["talks"])
        before = up.paid
        assert 0 < before < 60
        up.rule = lambda n: ANSWER
        found = measured(tmp_path, ["talks"])
        assert found["findings"][0]["figure"]["n"] == 20 and found["findings"][0]["cost"]["calls"] == 60
        assert up.paid == 60 and not paid_twice(up)


async def test_a_call_on_its_way_is_waited_for_when_its_talk_is_ended() -> None:
    import anyio

    kept: list[str] = []

    async def call() -> str:
        await anyio.sleep(0.1)
        kept.append("paid")
        return "paid"

    with anyio.CancelScope() as scope:
        scope.cancel()
        await settled(call(), 5)
    assert scope.cancelled_caught and kept == ["paid"]
    with anyio.CancelScope() as scope:
        scope.cancel()
        await settled(call(), 0)
    assert scope.cancelled_caught and kept == ["paid"], "no longer than it may"
    assert await settled(call(), 0) == "paid"


@pytest.mark.slow
def test_a_call_on_its_way_is_kept_when_another_talk_fails(tmp_path: Path, serve: Serve) -> None:
    """Inspect ends all talks where one cannot go on; the service does not know, and asks its price."""

    def rule(n: int) -> Deed:
        return upstream.fails(401) if n == 9 else Deed(delay_seconds=1.5) if n < 9 else Deed(delay_seconds=0.01)

    with serve(Upstream(rule=rule)) as up:
        assert "refuses the key" in refused(tmp_path)
        before = up.paid
        assert before >= 9
        up.rule = lambda n: ANSWER
        measured(tmp_path)
        assert up.paid == 20 and not paid_twice(up)


def test_an_account_with_a_broken_line_is_read_as_far_as_it_goes(tmp_path: Path, serve: Serve) -> None:
    with serve(Upstream(rule=lambda n: upstream.fails(401) if n > 30 else ANSWER)) as up:
        refused(tmp_path, ["talks"])
        (kept,) = tmp_path.rglob("paid.jsonl")
        kept.write_bytes(kept.read_bytes() + b'{"asked": "12')
        up.rule = lambda n: upstream.fails(401) if n > 50 else ANSWER
        refused(tmp_path, ["talks"])
        up.rule = lambda n: ANSWER
        measured(tmp_path, ["talks"])
        assert up.paid == 60 and not paid_twice(up)


@pytest.fixture
def keeper(monkeypatch: pytest.MonkeyPatch) -> TotalKeeper:
    """The instrument of claim 5, small, and a subject for it."""
    from homing.instruments.self_conditioning import SelfConditioning, SelfConditioningPreset

    preset = SelfConditioningPreset(("ones",), 6, 2, (), (), (), False, 1, 0, 1)
    monkeypatch.setattr(registry, "_registry", lambda: {"self_conditioning": lambda: SelfConditioning(preset)})
    monkeypatch.setattr(inspected, "DRAWS", 2)
    return TotalKeeper(loss=0.5)


def rejecting(up: Upstream) -> Upstream:
    """It answers 400 where log-probabilities are asked for, as some services do."""
    take = up.take

    def rejects(body: Mapping[str, Any], key: str) -> upstream.Asked:
        return (
            upstream.Asked(body, upstream.fails(400, "unsupported"), key) if body.get("logprobs") else take(body, key)
        )

    up.take = rejects
    return up


@pytest.mark.parametrize("way", ["given", "omitted", "rejected"])
async def test_a_choice_says_whether_it_was_drawn(serve: Serve, way: str) -> None:
    weights = {"one": 0.0, "two": -1.0, "three": -30.0}
    subject = SimpleNamespace(say=lambda c: "Hello.", weigh=lambda c, options: [weights[o] for o in options])
    up = behind(subject, logprobs=way == "given", mass=0.9)
    with serve(rejecting(up) if way == "rejected" else up):
        model = inspected.open_provider(MODEL)
        found = await model.choose(ASKED, ["one", "two", "three"])
        again = await model.choose(Conversation.of("And now?"), ["one", "two"])
        await model.close()
    assert found.exact == again.exact == (way == "given")
    assert all(map(math.isfinite, found.logprobs))
    close = 1e-6 if found.exact else 0.25
    assert found.probabilities == pytest.approx((0.731, 0.269, 0.0), abs=close + 1e-3)
    assert found.mass == pytest.approx(0.9, abs=close)


def test_without_log_probabilities_the_finding_says_so(tmp_path: Path, serve: Serve, keeper: TotalKeeper) -> None:
    with serve(behind(keeper, logprobs=False, mass=0.95)):
        found = measured(tmp_path, ["self_conditioning"])
    assert any(r["figure"] for r in found["findings"]), found["findings"]
    assert "Choices were drawn" in " ".join(r["verdict"] for r in found["findings"] if r["figure"])


def test_the_command_line_says_it_in_one_line(tmp_path: Path, serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("test", MODEL, "--only", "tiny", "--hold", "none", "--out", tmp_path, "--preset", "smoke", "--json")
    with serve(Upstream(script=[ANSWER], rule=lambda n: upstream.fails(500))) as up:
        code, out, err = run(capsys, *arguments)
        assert code == 2 and out == "" and "Traceback" not in err
        assert err.strip().splitlines()[-1].startswith("error: ") and "keeps failing" in err
        up.rule = lambda n: ANSWER
        code, out, err = run(capsys, *arguments)
    assert code == 0, err
    validate("test", objects(out)[0])


def test_no_key_and_no_client_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAKE_API_KEY")
    with pytest.raises(ModelError, match="FAKE_API_KEY") as e:
        run_test(TestPlan(MODEL, out=tmp_path))
    assert "\n" not in str(e.value) and "[" not in str(e.value)
    monkeypatch.setenv("FAKE_API_KEY", "k")
    monkeypatch.setitem(__import__("sys").modules, "openai", None)
    with pytest.raises(MissingExtra, match="pip install openai"):
        run_test(TestPlan(MODEL, out=tmp_path / "other"))


async def test_the_wire_streams_and_lists_models(serve: Serve) -> None:
    from openai import APIConnectionError, APIError, AsyncOpenAI

    with serve(Upstream(lambda c, body: "one two three", script=[ANSWER, CUT])) as up:
        async with AsyncOpenAI(base_url=up.url, api_key="k", max_retries=0) as client:
            assert [m.id async for m in client.models.list()] == ["x"]

            async def text() -> str:
                stream = await client.chat.completions.create(
                    model="x", messages=[{"role": "user", "content": "?"}], stream=True,
                    stream_options={"include_usage": True},
                )  # fmt: skip
                return "".join([e.choices[0].delta.content or "" async for e in stream if e.choices])

            assert await text() == "one two three"
            with pytest.raises((APIError, APIConnectionError, Exception), match=r"(?i)incomplete|closed|connection"):
                await text()
