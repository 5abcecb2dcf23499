"""What a map will ask: every cell (who answers which question under which prompt with which seed), before any is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from homing.conversation import Conversation, Message
from homing.engine.base import Sampling
from homing.errors import InputError
from homing.persona.questions import Question
from homing.persona.roles import Home, Role
from homing.stats.seeds import stable_seed

__all__ = ["PRESETS", "Cell", "Design", "Preset", "PresetName", "design_cells", "opening"]

PresetName = Literal["smoke", "standard", "full"]


@dataclass(frozen=True, slots=True)
class Preset:
    """How much a map samples.

    Args:
        roles, questions: how many are used. ``replies_per_role``, ``home_replies``: how many replies each gets.
        reply_tokens: longest reply. ``judge``: whether the likelihood judge runs.
        calibration, check: home conversations for calibrating alarms and for checking them on fresh ones.
        turns: user turns of each. ``scripts_per_domain``: drift scripts replayed in each domain (0: none).
        cap_prompts: role-play prompts a half, for tuning and for the report. ``price_items``: of the exact battery.
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
    price_items: int


PRESETS: dict[PresetName, Preset] = {
    "smoke": Preset(40, 24, 6, 144, 24, False, 60, 0, 4, 2, 6, 120),
    "standard": Preset(160, 80, 7, 560, 32, True, 100, 100, 4, 2, 30, 1000),
    "full": Preset(10_000, 10_000, 24, 2400, 48, True, 120, 120, 6, 12, 30, 2000),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One reply to make.

    Attributes:
        index: position in the plan. ``role``: index into the design's roles, -1 at home. ``question``: index.
        prompt: which phrasing of the role, or which home prompt. ``round``: adaptive sampling stops between rounds.
        seed: of this reply.
    """

    index: int
    role: int
    question: int
    prompt: int
    round: int
    seed: int


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
            "content": hashlib.sha256(
                "\x00".join([p for r in self.roles for p in r.prompts] + [q.text for q in self.questions]).encode()
            ).hexdigest(),
            "cells": len(self.cells),
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


def design_cells(
    roles: Sequence[Role],
    questions: Sequence[Question],
    homes: Sequence[Home],
    *,
    preset: Preset,
    seed: int,
) -> Design:
    """Spread replies over roles, questions and prompts, each question and each phrasing used about equally often.

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
    n_q, rounds = len(chosen_questions), min(preset.replies_per_role, len(chosen_questions))
    # A stride that shares no factor with the number of questions visits each question once before any twice.
    stride = next(s for s in range(max(1, round(n_q * 0.382)), n_q + 1) if np.gcd(s, n_q) == 1) if n_q > 1 else 1
    order = [int(i) for i in rng.permutation(n_q)]
    home_per_round = -(-preset.home_replies // rounds)
    cells: list[Cell] = []

    def add(role: int, question: int, prompt: int, round_: int) -> None:
        i = len(cells)
        cells.append(Cell(i, role, question, prompt, round_, stable_seed(seed, "reply", role, question, prompt)))

    h = 0
    for r in range(rounds):
        for k in range(len(chosen_roles)):
            add(k, order[(k + r * stride) % n_q], (k + r) % len(chosen_roles[k].prompts), r)
        for _ in range(min(home_per_round, preset.home_replies - h)):
            # each walk over the questions shifts the prompts by one, so no pair repeats before all are used
            add(-1, order[h % n_q], (h % n_q + h // n_q) % len(homes), r)
            h += 1
    unique = {(c.role, c.question, c.prompt) for c in cells}
    if len(unique) < len(cells):
        cells = list({(c.role, c.question, c.prompt): c for c in reversed(cells)}.values())
        cells.sort(key=lambda c: c.index)
        cells = [Cell(i, c.role, c.question, c.prompt, c.round, c.seed) for i, c in enumerate(cells)]
    sampling = Sampling(max_new_tokens=preset.reply_tokens, temperature=0.7, top_p=0.9)
    return Design(tuple(chosen_roles), tuple(chosen_questions), tuple(homes), tuple(cells), sampling)
