"""One model measured more than once, in one identity: each engine takes its own, and says where it has none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.verbs.tiny_map import Mapped

import homing
from homing.cli.main import cli
from homing.conversation import Conversation
from homing.errors import IdentityError, InputError
from homing.identity import Identity
from homing.testing.tiny import planted_model
from homing.verbs.join import join, join_identities
from homing.verbs.watch import Home, watch_file

TALK = [
    {"role": "user", "content": "Hello"}, {"role": "assistant", "content": "abc"},
    {"role": "user", "content": "And now"}, {"role": "assistant", "content": "abcabc"},
]  # fmt: skip


def _quantised(identity: Identity, *, shift: float = 0.0) -> Identity:
    """The same measurement as if made on a quantisation, where every projection came out larger by ``shift``."""
    persona = identity.section("persona")
    axis = dict(persona.data["axis"])
    axis["reader"] = {**axis["reader"], "zero": axis["reader"]["zero"] + shift}
    model = {**identity.model, "fingerprint": "9" * 64, "origin": "9" * 64, "name": "small.gguf", "dtype": "Q4_1"}
    model["engine"] = "llamacpp"
    moved = replace(persona, data={**persona.data, "axis": axis})
    return Identity(model, {**identity.sections, "persona": moved}, identity.volatile)


@pytest.fixture
def small(mapped: Mapped, tmp_path: Path) -> Path:
    return _quantised(mapped.identity, shift=1.0).save(tmp_path / "small")


def test_each_engine_takes_its_own(mapped: Mapped, small: Path, tmp_path: Path) -> None:
    made, words = join([small, mapped.home], tmp_path / "both")
    assert len(words) == 1 and "cosine of the axes 1.000" in words[0] and "equivalent" in words[0]
    assert "float32 on torch beside small.gguf in Q4_1 on llamacpp" in words[0]
    again = homing.Identity.load(tmp_path / "both")
    assert again.digest == made.digest and again.model["name"] == "small.gguf"
    talk = Conversation.from_openai(TALK)
    with homing.wrap(mapped.planted.model, mapped.planted.tokenizer) as model:
        alone = homing.Identity.load(mapped.home).watch(talk, model=model)
        assert again.watch(talk, model=model) == alone
        assert not any("calibrated in" in w for line in alone for w in line["warnings"])
        with pytest.raises(IdentityError, match=r"belongs to small\.gguf"):
            homing.Identity.load(small).watch(talk, model=model)
        # the same file on another engine: its marks are used, and every line says whose they are
        engine = model.aio.engine  # type: ignore[attr-defined]
        engine._info = replace(engine.info, origin="9" * 64)
        lines = homing.Identity.load(small).watch(talk, model=model)
    assert lines[0]["position"]["value"] != pytest.approx(alone[0]["position"]["value"], abs=1e-3)
    assert all(
        "the weights are in float32 on torch, and the alarms were calibrated in Q4_1 on llamacpp; their promise does not"
        " cover this" in line["warnings"]
        for line in lines
    )


def test_the_measurement_to_open_by(mapped: Mapped, small: Path, tmp_path: Path) -> None:
    both, _ = join_identities([Identity.load(small), mapped.identity])
    own = str(mapped.identity.model["name"])
    assert Home.chosen(both).identity.model["name"] == "small.gguf"
    assert Home.chosen(both, engine="torch").identity.model["name"] == own
    assert Home.chosen(both, own).engine(model=own) == "torch"
    assert Home.chosen(both, "unheard of").identity.model["name"] == "small.gguf"
    both.save(tmp_path / "both")
    p = tmp_path / "t.jsonl"
    p.write_text('{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "abc"}]}\n')
    (line,) = watch_file(p, tmp_path / "both", model=own)
    assert line["position"]["value"] is not None


def test_what_cannot_be_put_together(mapped: Mapped, small: Path) -> None:
    one = mapped.identity
    with pytest.raises(InputError, match="at least two"):
        join_identities([one])
    with pytest.raises(IdentityError, match="is there twice; give each measurement once"):
        join_identities([one, Identity.load(small), one])
    with pytest.raises(IdentityError, match="layers"):
        join_identities([one, replace(Identity.load(small), model={**one.model, "fingerprint": "8", "layers": 99})])


def test_the_command(mapped: Mapped, small: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["join", str(small), str(mapped.home), "--out", str(tmp_path / "both")])
    assert done.exit_code == 0, done.output
    assert "cosine of the axes" in done.stderr and done.stdout.strip() == str(tmp_path / "both")
    assert len(Identity.load(tmp_path / "both").measured) == 2
    done = CliRunner().invoke(cli, ["join", str(small), "--out", str(tmp_path / "no")])
    assert isinstance(done.exception, InputError) and not (tmp_path / "no").exists()


def test_another_model_is_refused_as_before(mapped: Mapped) -> None:
    other = planted_model(strength=2.0, seed=9)
    talk = Conversation.from_openai(TALK)
    with homing.wrap(other.model, other.tokenizer) as model, pytest.raises(IdentityError, match="belongs to"):
        homing.Identity.load(mapped.home).watch(talk, model=model)
