"""The names a program may count on, blocking and with coroutines; the user's own model comes back as it was."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import homing
from homing.conversation import Conversation
from homing.engine.base import Act, Direction, MeanRead, Read, Sampling
from homing.errors import IdentityError, InputError, ModelError
from homing.hold.cap import CapStabiliser
from homing.models.base import Done, Intervention, Reading, Token
from homing.persona import plan as persona_plan
from homing.testing.tiny import MARKER, tiny_llama
from homing.verbs.watch import Home
from tests.verbs.tiny_map import PRESET, Mapped, shared_map, weights_hash

TALK = Conversation.of("Hello there", "abc", "And now?", "dfe")
SIX = Sampling(max_new_tokens=6)


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Mapped:
    return shared_map(tmp_path_factory.getbasetemp())


def hooks_of(model: Any) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_the_public_names() -> None:
    assert homing.__all__ == ["Conversation", "Identity", "Message", "open", "wrap"]
    assert set(homing.__all__) <= set(dir(homing))
    for name in ("build", "load", "save", "watch", "digest", "section"):
        assert hasattr(homing.Identity, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = homing.nothing


def test_importing_homing_loads_no_torch() -> None:
    code = "import homing, sys; assert not {'torch', 'transformers'} & set(sys.modules); print(homing.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == homing.__version__


def test_wrap_leaves_the_model_as_it_was() -> None:
    hf, tokenizer = tiny_llama()
    before, hooks = weights_hash(hf), hooks_of(hf)
    attention = hf.config._attn_implementation
    rng = np.random.default_rng(0)
    direction = Direction("d", (1, 2), rng.standard_normal((2, 64)).astype(np.float32))
    model = homing.wrap(hf, tokenizer)
    model.aio.register(direction)
    act = Act("add", direction.id, (1, 2), strength=5.0)
    pushed = model.reply(TALK.then("Go"), sampling=SIX, acts=(act,), means=(MeanRead((1,)),))
    plain = model.reply(TALK.then("Go"), sampling=SIX)
    with pytest.raises(InputError):
        model.choose(TALK.then("Go"), ["one"])
    events = model.stream(TALK.then("Go"), sampling=SIX, acts=(act,))
    next(events)
    events.close()  # left in mid-reply
    model.close()
    model.close()
    assert pushed.text != plain.text
    assert (weights_hash(hf), hooks_of(hf), hf.config._attn_implementation) == (before, hooks, attention)
    with homing.wrap(hf, tokenizer) as again:
        assert again.reply(TALK.then("Go"), sampling=SIX).text == plain.text


def test_events_come_in_order_and_add_up() -> None:
    rng = np.random.default_rng(1)
    direction = Direction("d", (0, 3), rng.standard_normal((2, 64)).astype(np.float32))
    with homing.wrap(*tiny_llama()) as model:
        model.aio.register(direction)
        read = Read(direction.id, (0, 3))
        act = Act("add", direction.id, (3,), strength=0.5)
        events = list(model.stream(TALK.then("Go"), sampling=SIX, reads=(read,), acts=(act,)))
        done = events[-1]
        assert isinstance(done, Done)
        assert not any(isinstance(e, Done) for e in events[:-1])
        tokens = [e for e in events if isinstance(e, Token)]
        assert [t.index for t in tokens] == list(range(len(tokens)))
        assert "".join(t.text for t in tokens) == done.reply.text
        readings = [e for e in events if isinstance(e, Reading)]
        assert len(readings) == 2 * len(tokens)
        assert np.allclose([e.raw for e in readings], done.reply.readings[0].ravel())
        assert sum(isinstance(e, Intervention) for e in events) == len(tokens)
        same = model.reply(TALK.then("Go"), sampling=SIX, reads=(read,), acts=(act,))
        assert same.text == done.reply.text


async def test_the_same_with_coroutines() -> None:
    from homing.models.sources import wrap

    hf, tokenizer = tiny_llama()
    with homing.wrap(hf, tokenizer) as blocking:
        text = blocking.reply(TALK.then("Go"), sampling=SIX).text
        chosen = blocking.choose(TALK.then("Go"), ["yes", "no"])
        turns = blocking.read(TALK)
    model = wrap(hf, tokenizer, name="tiny")
    assert (await model.reply(TALK.then("Go"), sampling=SIX)).text == text
    assert (await model.choose(TALK.then("Go"), ["yes", "no"])) == chosen
    assert sum(chosen.probabilities) == pytest.approx(1.0)
    assert 0 < chosen.mass <= 1
    assert [t.tokens for t in await model.read(TALK)] == [t.tokens for t in turns] == [3, 3]
    await model.close()


def test_open_map_load_and_watch(mapped: Mapped) -> None:
    with homing.open(str(mapped.model)) as model:
        assert model.name == str(mapped.model)
        identity = homing.Identity.load(mapped.home)
        assert isinstance(identity, homing.Identity)
        assert identity.digest == mapped.identity.digest
        lines = identity.watch(TALK, model=model)
        assert [line["turn"] for line in lines] == [1, 2]
        held = identity.watch(TALK, model=model, hold=("cap",))
        assert [line["turn"] for line in held] == [1, 2]
        with pytest.raises(InputError, match="one hold"):
            identity.watch(TALK, model=model, hold=("cap", "cap"))
        cap = Home.of(identity).cap
        assert cap is not None
        away = Conversation.of("Go", system=f"{MARKER} You are number 3.")
        events = list(model.stream(away, sampling=SIX, hold=(CapStabiliser(cap),)))
        assert any(isinstance(e, Intervention) for e in events)
        assert isinstance(events[-1], Done)
    assert identity.watch(TALK) == lines  # opens the model it was made on by itself
    with homing.wrap(*tiny_llama()) as other, pytest.raises(IdentityError, match="belongs to"):
        identity.watch(TALK, model=other)
    with pytest.raises(ModelError, match="is unknown"):
        homing.open("nobody-knows-this")


def test_build_writes_what_load_reads(mapped: Mapped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(PRESET, replies_per_role=3, home_replies=64, check=0, scripts_per_domain=0, cap_prompts=2)
    monkeypatch.setitem(persona_plan.PRESETS, "smoke", small)
    before = weights_hash(mapped.planted.model)
    with homing.wrap(mapped.planted.model, mapped.planted.tokenizer) as model:
        made = homing.Identity.build(model, out=tmp_path / "home", preset="smoke", seed=2)
    assert isinstance(made, homing.Identity)
    assert homing.Identity.load(tmp_path / "home").digest == made.digest
    assert weights_hash(mapped.planted.model) == before


def test_build_takes_precision_judge_and_roles(mapped: Mapped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They reach the plan as ``homing map`` gives them; what the plan refuses is refused before the model works."""
    import homing.verbs.api as api
    from homing.verbs.plan import MapPlan, plan_map

    (tmp_path / "roles").mkdir()
    (tmp_path / "roles" / "tin-man.yaml").write_text(
        "id: tin-man\nname: Tin man\nkind: stage\nprompts: [You are a tin man., Speak as a tin man., Be a tin man.]\n"
        "words: [tin]\n"
    )
    plans: list[MapPlan] = []

    async def map_model(_model: Any, plan: MapPlan, **_more: Any) -> Any:
        plans.append(plan)
        return mapped.identity

    monkeypatch.setattr(api, "map_model", map_model)
    monkeypatch.setitem(persona_plan.PRESETS, "smoke", replace(PRESET, roles=10_000))
    with homing.wrap(mapped.planted.model, mapped.planted.tokenizer) as model:
        made = homing.Identity.build(
            model,
            out=tmp_path / "out",
            preset="smoke",
            precision=0.05,
            judge="likelihood",
            roles=str(tmp_path / "roles"),
        )
        homing.Identity.build(model, out=tmp_path / "out", preset="smoke")
        for bad, says in (
            ({"precision": 3.0}, "precision is 3.0"),
            ({"judge": "a friend"}, "judge 'a friend' is unknown"),
            ({"roles": tmp_path / "nowhere"}, "is not a folder"),
        ):
            more: dict[str, Any] = bad
            with pytest.raises(InputError, match=says):
                homing.Identity.build(model, out=tmp_path / "out", **more)
        name = model.name
    assert isinstance(made, homing.Identity)
    full, plain = plans
    asked = plan_map(
        name, preset="smoke", out=tmp_path / "out", precision=0.05, judge="likelihood", roles=tmp_path / "roles"
    )
    assert full.to_json() == asked.to_json()
    assert (full.precision, full.judging) == (0.05, "likelihood")
    assert "tin-man" in {r.id for r in full.design.roles}
    assert (plain.precision, plain.judge) == (None, "auto")
    assert "tin-man" not in {r.id for r in plain.design.roles}


def test_build_refuses_weights_that_are_not_in_float32(mapped: Mapped, tmp_path: Path) -> None:
    with homing.open(str(mapped.model), dtype="bfloat16") as model:
        with pytest.raises(InputError, match="is open in bfloat16, and maps are made in float32 alone"):
            homing.Identity.build(model, out=tmp_path / "out", preset="smoke")
        # it is the same file's model, so its identity is still its own
        assert homing.Identity.load(mapped.home).watch(TALK, model=model)
    assert not (tmp_path / "out").exists()
