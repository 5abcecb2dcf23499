"""What sharing the beginnings of forks is worth: instruments with many forks, played with it and without.

Without it the same questions are asked in the same batches, but each conversation begins with a number of its own, and nothing
that was computed for one fork fits another. Rounds alternate; the ratio is of the two arms of one round.

    python benchmarks/forks.py [--rounds 5] [--threads 2]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paired import interval

from homing.conversation import Conversation, Message
from homing.instruments.playing import play_cells
from homing.instruments.superposition import Superposition, SuperpositionPreset
from homing.models.base import ChatModel
from homing.models.sources import open_model
from homing.persona.outside import load_outside

TALK = 10
"""Exchanges before the battery is asked."""


class Apart:
    """A model whose conversations never begin alike."""

    def __init__(self, model: ChatModel) -> None:
        self._model, self._number = model, itertools.count(10_000)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    async def score_replies(
        self, prompts: Sequence[Conversation], replies: Sequence[Sequence[str]], **more: Any
    ) -> Any:
        """Each option of each prompt in a conversation of its own."""
        alone = [self._alone(p) for p, options in zip(prompts, replies, strict=True) for _ in options]
        texts = [[o] for options in replies for o in options]
        scored = iter(await self._model.score_replies(alone, texts, **more))
        return [[next(scored)[0] for _ in options] for options in replies]

    def _alone(self, c: Conversation) -> Conversation:
        first = c[0]
        return Conversation((Message(first.role, f"{next(self._number)} {first.content}"), *c.messages[1:]))


async def battery(model: ChatModel) -> None:
    """The short form's size of items, asked once in a talk."""
    c = Conversation()
    for k in range(TALK):
        c = c.then(f"Tell me something about gardens, number {k}. I grow beans and peas near the wall.", "user")
        c = c.then("Beans and peas like loose soil and a lot of water when the summer is dry.", "assistant")
    wordings = [w for i in load_outside()[::9][:12] for w in (i.a, i.b)]
    await model.score_replies([c.then(w.question, "user") for w in wordings], [list(w.options) for w in wordings])


async def games(model: ChatModel) -> None:
    """Games of twenty questions with all their forks."""
    i = Superposition(preset=SuperpositionPreset(4, 0, 3, 0, 0, 0, 1, 0, 10, 0, 1))
    await play_cells(i, i.cells(preset="smoke", seed=0, hold="none"), model)


async def measure(rounds: int, threads: int) -> dict[str, Any]:
    """Ratio of seconds without to seconds with, by what was played."""
    model = open_model("smollm2", threads=threads)
    arms: dict[str, ChatModel] = {"with": model, "without": Apart(model)}  # pyright: ignore[reportAssignmentType]
    out: dict[str, Any] = {}
    for name, job in (("battery", battery), ("superposition", games)):
        await job(model)
        ratios: list[float] = []
        for k in range(rounds):
            took: dict[str, float] = {}
            for arm in sorted(arms, reverse=bool(k % 2)):
                began = time.perf_counter()
                await job(arms[arm])
                took[arm] = time.perf_counter() - began
            ratios.append(took["without"] / took["with"])
            print(name, k, {a: round(s, 2) for a, s in took.items()}, flush=True)
        out[name] = {"times": interval(ratios), "seconds_with": round(took["with"], 2)}
    await model.close()
    return out


def main() -> None:
    """Print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "forks.json")
    given = parser.parse_args()
    found = asyncio.run(measure(given.rounds, given.threads))
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
