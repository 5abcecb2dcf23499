"""The design spreads evenly, seeds belong to cells, and a reply in company is the reply alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from homing.errors import InputError
from homing.identity.work import WorkDir
from homing.models.base import ReplyRequest
from homing.models.sources import wrap
from homing.persona.plan import PRESETS, Design, Preset, design_cells
from homing.persona.questions import load_questions
from homing.persona.roles import load_home, load_roles
from homing.persona.rollouts import Replies, ask
from homing.testing.tiny import tiny_llama

SMALL = Preset(10, 8, 3, 24, 6, False, 60, 0, 2, 0, 2, 2, 16)


def design(preset: Preset = SMALL, seed: int = 0) -> Design:
    return design_cells(load_roles(), load_questions(), load_home(None), preset=preset, seed=seed)


@pytest.mark.parametrize("name", ["smoke", "standard"])
def test_questions_prompts_and_kinds_are_used_about_equally(name: str) -> None:
    made = design(PRESETS[name])
    roles = [c for c in made.cells if c.role >= 0]
    home = [c for c in made.cells if c.role < 0]
    for cells in (roles, home):
        by_question = Counter(c.question for c in cells)
        assert len(by_question) == len(made.questions)
        assert max(by_question.values()) - min(by_question.values()) <= 0.35 * np.mean(list(by_question.values())) + 1
    assert set(Counter(c.role for c in roles).values()) == {PRESETS[name].replies_per_role}
    assert {c.prompt for c in roles} == {0, 1, 2}
    assert {c.prompt for c in home} == set(range(len(made.homes)))
    asked = Counter((c.block, c.role, c.question, c.prompt) for c in made.cells)
    assert all(n == 1 for (_, role, *_), n in asked.items() if role >= 0)
    for b in {c.block for c in made.cells}:  # at home no pair is asked again before every pair of its block was
        home_pairs = [n for (block, role, *_), n in asked.items() if block == b and role < 0]
        assert max(home_pairs) - min(home_pairs) <= 1
    assert len({c.seed for c in made.cells}) == len(made.cells)
    assert [c.index for c in made.cells] == list(range(len(made.cells)))
    kinds = Counter(q.kind for q in made.questions)
    assert len(kinds) == len({q.kind for q in load_questions()})
    assert max(kinds.values()) - min(kinds.values()) <= 1 or name == "standard"


def test_every_round_is_balanced_so_that_sampling_may_stop_after_any() -> None:
    made = design()
    for r in range(SMALL.replies_per_role):
        cells = [c for c in made.cells if c.round == r]
        assert Counter(c.role for c in cells if c.role >= 0) == dict.fromkeys(range(10), 1)
        assert sum(c.role < 0 for c in cells) == 8


def test_the_design_is_a_function_of_its_seed() -> None:
    assert design().cells == design().cells
    assert design().to_json() == design().to_json()
    assert design().cells != design(seed=1).cells
    big = {(c.role, c.question, c.prompt): c.seed for c in design(replace(SMALL, replies_per_role=6)).cells}
    shared = [(c.seed, big[k]) for c in design().cells if (k := (c.role, c.question, c.prompt)) in big]
    assert shared
    assert all(a == b for a, b in shared)  # a cell's seed does not depend on how much else is asked


def test_too_small_a_design_is_refused() -> None:
    with pytest.raises(InputError, match="at least 8 roles, 4 questions and 1 home; got 3, 8, 0"):
        design_cells(load_roles()[:3], load_questions()[:8], [], preset=SMALL, seed=0)


async def test_replies_in_company_are_the_replies_alone(tmp_path: Path) -> None:
    model = wrap(*tiny_llama(), name="tiny", slots=8)
    made = design()
    done: list[int] = []
    with WorkDir(tmp_path, {"a": 1}) as work:
        replies = await ask(model, made, work=work, layers=range(4), advance=done.append)
    assert sum(done) == len(made.cells) == len(replies)
    assert replies.means.shape == (len(made.cells), 4, 64)
    for i in (0, 7, 20, len(made.cells) - 1):
        cell = made.cells[i]
        alone = await model.reply(made.conversation(cell), sampling=replace(made.sampling, seed=cell.seed))
        assert alone.text == replies.texts[i]
        assert (replies.role[i], replies.question[i], replies.prompt[i]) == (cell.role, cell.question, cell.prompt)
    # mean vectors are those of the reply's own tokens, read again from the text
    i = next(k for k, t in enumerate(replies.texts) if model.pieces(t) and replies.length[k] == len(model.pieces(t)))
    from homing.engine.base import MeanRead

    again = await model.read(
        made.conversation(made.cells[i]).then(replies.texts[i], "assistant"), means=(MeanRead((0, 1, 2, 3)),)
    )
    assert np.allclose(again[-1].means[0], replies.means[i], rtol=1e-3, atol=1e-4)
    await model.close()


async def test_a_finished_run_asks_nothing_again_and_stops_only_between_rounds(tmp_path: Path) -> None:
    model = wrap(*tiny_llama(), name="tiny")
    asked = 0
    real = model.replies

    async def counted(requests: list[ReplyRequest]) -> object:
        nonlocal asked
        asked += len(requests)
        return await real(requests)

    model.replies = counted  # type: ignore[method-assign]
    made = design()
    seen: list[int] = []

    def enough(so_far: Replies) -> bool:
        seen.append(len(so_far))
        return len(seen) == 2

    with WorkDir(tmp_path, {"a": 1}) as work:
        short = await ask(model, made, work=work, layers=(2,), enough=enough)
        assert asked == sum(c.round < 2 for c in made.cells)
        assert seen == [18, 36]
        assert len(short) == 36
        whole = await ask(model, made, work=work, layers=(2,))
        assert asked == len(made.cells)  # the first two rounds were found again
        again = await ask(model, made, work=work, layers=(2,))
    assert asked == len(made.cells)
    assert np.array_equal(whole.means, again.means)
    assert whole.texts == again.texts
    assert whole.texts[:36] == short.texts
    await model.close()


def test_rows_are_taken_by_mask_and_by_index() -> None:
    n = 5
    rows = Replies(
        np.arange(n * 2, dtype=np.float32).reshape(n, 1, 2), np.array([-1, 0, 0, 1, -1]), np.arange(n), np.arange(n),
        np.arange(n), tuple("abcde"), ("stop",) * n, (3,), 9, 9, np.arange(n),
    )  # fmt: skip
    assert rows.home.tolist() == [True, False, False, False, True]
    by_mask, by_index = rows.take(rows.home), rows.take(np.array([0, 4]))
    assert by_mask.texts == by_index.texts == ("a", "e")
    assert np.array_equal(by_mask.means, by_index.means)
    assert len(rows.take(np.zeros(n, bool))) == 0
