"""home and return on a model behind a provider: asked with letters, kept call by call, and the same figures as directly."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.cli.running import objects, run
from tests.cli.schemas import validate
from tests.instruments.planted_return import ITEMS, home_of
from tests.verbs.upstream import MODEL, Serve, make_quick, paid_twice, server

from homing.conversation import Conversation
from homing.identity import Identity, Section
from homing.instruments import home_return
from homing.instruments.home_return import ReturnPreset
from homing.instruments.pushes import load_pushes
from homing.models import inspected
from homing.persona.outside import load_outside
from homing.persona.outside_home import VERSION
from homing.stats.seeds import stable_seed
from homing.testing import upstream
from homing.testing.planted import DriftingSubject
from homing.testing.upstream import ANSWER, behind
from homing.verbs import home, returning
from homing.verbs.home import SECTION
from homing.verbs.returning import ReturnPlan, return_model, run_return

pytest.importorskip("inspect_ai")
pytest.importorskip("openai")

PUSHING = {t for s in load_pushes() for t in s.turns}
SUBJECT = DriftingSubject(
    pushes=lambda text: int(text in PUSHING), about=lambda q: q.split(",")[0], size=4.0, decay=0.8, noise=0.1
)


def weigh(conversation: Conversation, options: Sequence[str]) -> list[float]:
    """As the subject weighs them in the order of the battery: its weights go by place, and letters are asked in two orders."""
    given = sorted(options, key=lambda o: (("one", "two", "three", o).index(o), o))
    weights = dict(zip(given, SUBJECT.weigh(conversation, given), strict=True))
    return [weights[o] for o in options]


LETTERED = SimpleNamespace(say=SUBJECT.say, weigh=weigh)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    make_quick(monkeypatch)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    return server(monkeypatch)


def test_home_asks_with_letters_and_pays_no_call_twice(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    items = tuple({i.facet: i for i in load_outside()}.values())[:2]
    monkeypatch.setattr(home, "load_outside", lambda: items)

    def follows(conversation: Conversation, options: Sequence[str]) -> list[float]:
        return [stable_seed(conversation[0].content, o) % 4 for o in options]

    def asked(out: Path) -> tuple[int, str, str]:
        return run(capsys, "home", MODEL, "--out", out, "--json")

    subject = SimpleNamespace(say=lambda c: "Hello.", weigh=follows)
    with serve(behind(subject)) as up:
        code, out, err = asked(tmp_path / "whole")
        assert code == 0, err
        validate("home", objects(out)[0])
        whole = up.paid
        assert whole > 40
    with serve(behind(subject)) as up:
        up.rule = lambda n: upstream.fails(401) if n > 20 else ANSWER
        code, out, err = asked(tmp_path / "me")
        assert code == 2 and out == "" and err.strip().splitlines()[-1].startswith("error: ")
        assert "refuses the key" in err and "Traceback" not in err
        up.rule = lambda n: ANSWER
        code, out, err = asked(tmp_path / "me")
        assert code == 0, err
        assert up.paid == whole and not paid_twice(up)
    one, other = (Identity.load(tmp_path / d) for d in ("whole", "me"))
    assert one.digest == other.digest and one.section(SECTION).data["readout"] == "letters"


async def known(readout: str) -> Identity:
    """An identity whose short form is six items, so that there are few calls."""
    found = await home_of(SUBJECT.model)
    short = tuple({i.facet: i.id for i in ITEMS}.values())
    section = Section(VERSION, *replace(found, short=short, home=replace(found.home, readout=readout)).to_section())
    fingerprint = "" if readout == "cloze" else f"inspect:{MODEL}"
    about = {"name": "planted", "engine": "scripted", "dtype": "none", "layers": 0, "hidden": 0}
    return Identity({"fingerprint": fingerprint, **about}, {SECTION: section})


@pytest.mark.parametrize("logprobs", [True, False])
def test_return_through_a_provider(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch, logprobs: bool
) -> None:
    preset = ReturnPreset(("roleplay",), 2, 0, 1, (0, 1), "short", 0, norms=0, tokens=12)
    monkeypatch.setitem(home_return.PRESETS, "smoke", preset)
    monkeypatch.setattr(returning, "load_outside", lambda: ITEMS)
    monkeypatch.setattr(inspected, "DRAWS", 1)
    there, here = (asyncio.run(known(r)) for r in ("letters", "cloze"))
    with serve(behind(LETTERED, logprobs=logprobs)) as up:
        plan = ReturnPlan(MODEL, out=tmp_path / "p", identity=there, holds=["heal_bland"])
        found = run_return(plan)
        validate("return", found)
        paid = up.paid
        assert run_return(ReturnPlan(MODEL, out=tmp_path / "p", identity=there, holds=["heal_bland"])) == found
        assert up.paid == paid
    direct = asyncio.run(
        return_model(SUBJECT.model, ReturnPlan("x", out=tmp_path / "d", identity=here, holds=["heal_bland"]))
    )
    assert len(found["arms"]) == len(direct["arms"]) > 0
    for mine, exact in zip(found["arms"], direct["arms"], strict=True):
        if logprobs and exact["return_share"] is not None and exact["return_share"]["value"] is not None:
            assert mine["return_share"]["value"] == pytest.approx(exact["return_share"]["value"], abs=0.01)
