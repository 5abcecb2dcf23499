"""What a map will ask: every cell (who answers which question under which prompt with which seed), before any is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from homing.conversation import Conversation, Message
from homing.engine.base import Sampling
from homing.errors import InputError
from homing.persona.battery import SIZES
from homing.persona.questions import Question
from homing.persona.roles import Home, Role, content_digest
from homing.stats.seeds import stable_seed

__all__ = ["PRESETS", "Cell", "Design", "Preset", "PresetName", "design_cells", "opening"]

PresetName = Literal["smoke", "standard", "full"]
MOST_BLOCKS, FEWEST_BLOCKS = 16, 4


@dataclass(frozen=True, slots=True)
class Preset:
    """How much a map samples.

    Args:
        roles, questions: how many are used. ``replies_per_role``, ``home_replies``: how many replies each gets.
        reply_tokens: longest reply. ``judge``: whether the likelihood judge runs.
        calibration, check: home conversations for calibrating alarms and for checking them on fresh ones.
        turns: user turns of each. ``scripts_per_domain``: drift scripts replayed in each domain (0: none).
        cap_prompts: role-play prompts a half, for tuning and for the report. ``control_draws``: meaningless directions of
            each kind beside the cap. ``price_items``: of the exact battery.
    """

    roles: int
    questions: int
    replies_per_role: int
    home_replies: int
    reply_tokens: int
    judge: bool
    calibration: int
    check: int
    turns: int
    scripts_per_domain: int
    cap_prompts: int
    control_draws: int
    price_items: int


PRESETS: dict[PresetName, Preset] = {
    "smoke": Preset(40, 48, 6, 144, 24, False, 60, 0, 4, 2, 6, 3, SIZES["smoke"]),
    "standard": Preset(160, 160, 5, 640, 32, True, 100, 100, 4, 2, 30, 8, SIZES["standard"]),
    "full": Preset(10_000, 10_000, 24, 2400, 48, True, 120, 120, 6, 12, 30, 10, SIZES["full"]),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One reply to make.

    Attributes:
        index: position in the plan. ``role``: index into the design's roles, -1 at home. ``question``: index.
        prompt: which phrasing of the role, or which home prompt. ``round``: adaptive sampling stops between rounds.
        seed: of this reply. ``block``: roles, questions and home prompts of one block meet no others.
    """

    index: int
    role: int
    question: int
    prompt: int
    round: int
    seed: int
    block: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class Design:
    """Roles, questions, homes and the cells over them."""

    roles: tuple[Role, ...]
    questions: tuple[Question, ...]
    homes: tuple[Home, ...]
    cells: tuple[Cell, ...]
    sampling: Sampling

    def conversation(self, cell: Cell) -> Conversation:
        """What the model is shown for one cell: the prompt's messages, then the question."""
        question = Message("user", self.questions[cell.question].text)
        if cell.role < 0:
            return Conversation((*opening(self.homes[cell.prompt]), question))
        return Conversation((Message("system", self.roles[cell.role].prompts[cell.prompt]), question))

    def to_json(self) -> dict[str, Any]:
        """Everything the replies depend on, as hashes where the text is long."""
        return {
            "roles": [r.id for r in self.roles],
            "questions": [q.id for q in self.questions],
            "homes": [h.digest for h in self.homes],
            "content": content_digest(self.roles, self.questions, self.homes),
            "cells": len(self.cells),
            "blocks": 1 + max(c.block for c in self.cells),
            "sampling": {
                "temperature": self.sampling.temperature,
                "top_p": self.sampling.top_p,
                "max_new_tokens": self.sampling.max_new_tokens,
            },
        }


def opening(home: Home) -> tuple[Message, ...]:
    """The messages before the first user turn at home."""
    system = () if home.system is None else (Message("system", home.system),)
    return (*system, *(Message(speaker, text) for speaker, text in home.messages))


def _spread(items: Sequence[Any], n: int, kinds: Sequence[str], rng: np.random.Generator) -> list[int]:
    """``n`` indices, the kinds in turn, each kind in a seeded order: a small sample still has every kind."""
    by_kind: dict[str, list[int]] = {}
    for i in rng.permutation(len(items)):
        by_kind.setdefault(kinds[int(i)], []).append(int(i))
    queues = [by_kind[k] for k in sorted(by_kind)]
    order = [q[depth] for depth in range(max(map(len, queues))) for q in queues if depth < len(q)]
    return sorted(order[:n])


def _deal(kinds: Sequence[str], blocks: int, rng: np.random.Generator) -> list[list[int]]:
    """All indices dealt out to blocks kind by kind, so that each block has about its share of every kind."""
    order = sorted((int(i) for i in rng.permutation(len(kinds))), key=lambda i: kinds[i])
    return [order[b::blocks] for b in range(blocks)]


def _blocks(roles: int, questions: int, homes: int) -> int:
    """How many blocks a design is cut into; 1 where there is too little to cut.

    Halves that share no role, question or home prompt waste half of a crossed design: the replies of one half's roles
    to the other half's questions belong to neither. In blocks that never cross, any half of the blocks is such a half
    and every reply is in one, so that the whole is really twice a half, as Spearman-Brown takes it to be.
    """
    most = min(MOST_BLOCKS, roles // 2, questions // 2, homes if homes > 1 else MOST_BLOCKS)
    return most - most % 2 if most >= FEWEST_BLOCKS else 1


def _stride(n: int) -> int:
    """A step that shares no factor with ``n`` visits each of ``n`` questions once before any twice."""
    return next(s for s in range(max(1, round(n * 0.382)), n + 1) if np.gcd(s, n) == 1) if n > 1 else 1


def design_cells(
    roles: Sequence[Role],
    questions: Sequence[Question],
    homes: Sequence[Home],
    *,
    preset: Preset,
    seed: int,
) -> Design:
    """Spread replies over roles, questions and prompts, each question and each phrasing used about equally often.

    Roles, questions and home prompts are dealt out to blocks that do not cross (:func:`_blocks` says why).

    The order is by round: one reply of every role and the same share of home replies, so that sampling can stop
    between rounds with a balanced sample.

    Raises:
        InputError: fewer than 8 roles, 4 questions or 1 home prompt.
    """
    if len(roles) < 8 or len(questions) < 4 or not homes:
        raise InputError(
            f"a map needs at least 8 roles, 4 questions and 1 home; got {len(roles)}, {len(questions)}, {len(homes)}"
        )
    rng = np.random.default_rng(stable_seed("design", seed))
    chosen_roles = [roles[i] for i in _spread(roles, preset.roles, [r.kind for r in roles], rng)]
    chosen_questions = [questions[i] for i in _spread(questions, preset.questions, [q.kind for q in questions], rng)]
    blocks = _blocks(len(chosen_roles), len(chosen_questions), len(homes))
    role_blocks = _deal([r.kind for r in chosen_roles], blocks, rng)
    question_blocks = [
        [q[int(i)] for i in rng.permutation(len(q))] for q in _deal([q.kind for q in chosen_questions], blocks, rng)
    ]
    home_blocks = [list(range(len(homes)))[b::blocks] if len(homes) > 1 else [0] for b in range(blocks)]
    rounds = preset.replies_per_role
    home_per_round = -(-preset.home_replies // rounds)
    cells: list[Cell] = []
    asked: dict[tuple[int, int, int], int] = {}

    def add(role: int, question: int, prompt: int, round_: int, block: int) -> None:
        key = (role, question, prompt)
        again = asked.get(key, 0)
        asked[key] = again + 1
        # a cell that is asked again is another sample of the same thing
        reply_seed = stable_seed(seed, "reply", *key, *([again] if again else []))
        cells.append(Cell(len(cells), role, question, prompt, round_, reply_seed, block))

    h = 0
    # Each walk over a block's questions shifts the prompts by one, so that no pair comes again before all were asked.
    for r in range(rounds):
        for b in range(blocks):
            order, stride = question_blocks[b], _stride(len(question_blocks[b]))
            for place, k in enumerate(role_blocks[b]):
                phrasing = (place + r % len(order) + r // len(order)) % len(chosen_roles[k].prompts)
                add(k, order[(place + r * stride) % len(order)], phrasing, r, b)
        for _ in range(min(home_per_round, preset.home_replies - h)):
            b, turn = h % blocks, h // blocks
            order, prompts = question_blocks[b], home_blocks[b]
            at, walk = turn % len(order), turn // len(order)
            add(-1, order[at], prompts[(at + walk) % len(prompts)], r, b)
            h += 1
    sampling = Sampling(max_new_tokens=preset.reply_tokens, temperature=0.7, top_p=0.9)
    return Design(tuple(chosen_roles), tuple(chosen_questions), tuple(homes), tuple(cells), sampling)
