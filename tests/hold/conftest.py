"""A planted subject: six layers in numpy whose words follow one known direction."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest

from homing.conversation import Conversation
from homing.engine.base import Act, Direction, EngineInfo, MeanRead, Read, Sampling
from homing.models.base import Capability, Choice, Done, Event, Reply, ReplyRequest, Token, TurnRead
from homing.persona.axis import Axis

LAYERS, HIDDEN, HEARS = 6, 16, 2.0
HOME = ["I", "am", "designed", "to", "assist", "you", "with", "information"]
ROLE = ["night", "blood", "moon", "shadow", "thirst", "coffin", "castle", "dark"]


class Planted:
    """Its reply is made of home words and role words; its projection on the planted axis decides.

    ``arrives``: how much of an act it lets through. -1: a model for which every vector means the opposite; 0: a no-op.
    """

    name = "planted"

    def __init__(self, *, arrives: float = 1.0, lies: bool = False) -> None:
        rng = np.random.default_rng(7)
        self.truth = np.eye(HIDDEN, dtype=np.float32)[0]
        self.noise = rng.standard_normal((4096, HIDDEN)).astype(np.float32) * 0.3
        self.known: dict[str, Direction] = {}
        self.arrives, self.lies = arrives, lies
        self.acts_seen: list[tuple[Act, ...]] = []
        self.capabilities: frozenset[Capability] = frozenset({"stream", "acts", "reads", "means", "score", "system"})
        self.info = EngineInfo(
            "planted", "f" * 16, "float32", LAYERS, HIDDEN, 16, 4096, 8, frozenset({"floor", "ceiling"})
        )

    def register(self, direction: Direction) -> str:
        self.known[direction.id] = direction
        return direction.id

    def _level(self, c: Conversation, words: Sequence[str]) -> float:
        text = " ".join(m.content for m in c).lower()
        start = -1.0 if any(w in text for w in ("vampire", "captain", "poet", "jester")) else 1.0
        recent = [1.0 if w in HOME else -1.0 if w in ROLE else 0.0 for w in words[-4:]]
        return 0.5 * start + 0.5 * (float(np.mean(recent)) if recent else start)

    def _stack(self, level: float, key: str, acts: Sequence[Act]) -> tuple[np.ndarray, list[list[float]], float]:
        """Residuals before acts ``(layers, hidden)``, what fired, and the projection that the words see."""
        before = np.zeros((LAYERS, HIDDEN), np.float32)
        fired = [[0.0] * len(a.layers) for a in acts]
        moved = np.zeros(HIDDEN, np.float32)
        for i in range(LAYERS):
            h = HEARS * level * (1 + 0.1 * i) * self.truth + self.noise[zlib.crc32(f"{key}{i}".encode()) % 4096] + moved
            before[i] = h
            for k, a in enumerate(acts):
                if i in a.layers:
                    at = a.layers.index(i)
                    v = self.known[a.direction].at(i)
                    if a.kind == "add":
                        assert a.gate is not None and a.gate.direction == a.direction and a.gate.layer == i
                        move = a.strength if float(h @ v) < a.gate.threshold else 0.0
                    else:
                        gap = a.thresholds[at] - float(h @ v)
                        move = a.strength * (max(gap, 0.0) if a.kind == "floor" else min(gap, 0.0))
                    fired[k][at] = 3.0 if self.lies else abs(move)
                    moved = moved + self.arrives * move * v
                    h = h + self.arrives * move * v
        return before, fired, float(h @ self.truth)

    def _run(self, c: Conversation, words: list[str], acts: Sequence[Act], reads: Sequence[Read]):
        """Readings and fired of given words; each token's residual follows the words up to and with it."""
        stacks = [self._stack(self._level(c, words[: i + 1]), f"{c.digest}{i}{w}", acts) for i, w in enumerate(words)]
        readings = tuple(
            np.asarray(
                [[s[0][y] @ self.known[r.direction].at(y) for y in r.layers] for s in stacks], np.float32
            ).reshape(len(words), len(r.layers))
            for r in reads
        )
        fired = tuple(
            np.asarray([s[1][k] for s in stacks], np.float32).reshape(len(words), len(a.layers))
            for k, a in enumerate(acts)
        )
        means = np.mean([s[0] for s in stacks], axis=0) if stacks else np.zeros((LAYERS, HIDDEN), np.float32)
        return readings, fired, means

    async def replies(self, requests: Sequence[ReplyRequest]) -> list[Reply]:
        return [self._reply(r) for r in requests]

    def _reply(self, r: ReplyRequest) -> Reply:
        self.acts_seen.append(tuple(r.acts))
        rng = np.random.default_rng([r.sampling.seed, zlib.crc32(r.conversation.digest.encode())])
        words: list[str] = []
        for i in range(r.sampling.max_new_tokens):
            drive = self._stack(self._level(r.conversation, words), f"{r.conversation.digest}{i}draw", r.acts)[2]
            pool = HOME if rng.random() < 1 / (1 + np.exp(-1.5 * drive)) else ROLE
            words.append(pool[int(rng.integers(8))])
        readings, fired, means = self._run(r.conversation, words, r.acts, r.reads)
        return Reply(
            " ".join(words), tuple(range(len(words))), "length", 5, len(words), None, readings, ("reply",) * len(words),
            fired, tuple(means[list(m.layers)] for m in r.means),
        )  # fmt: skip

    async def reply(self, conversation: Conversation, **kw: object) -> Reply:
        return self._reply(ReplyRequest(conversation, **kw))  # type: ignore[arg-type]

    async def stream(
        self,
        conversation: Conversation,
        *,
        sampling: Sampling = Sampling(),
        acts: Sequence[Act] = (),
        reads: Sequence[Read] = (),
        means: Sequence[MeanRead] = (),
    ) -> AsyncIterator[Event]:
        reply = self._reply(ReplyRequest(conversation, sampling, tuple(acts), tuple(reads), tuple(means)))
        for i, w in enumerate(reply.text.split()):
            yield Token(i, w if i == 0 else " " + w, i, -1.0)
        yield Done(reply)

    async def choose(self, conversation: Conversation, options: Sequence[str], *, acts: Sequence[Act] = ()) -> Choice:
        raise NotImplementedError

    async def read(
        self,
        conversation: Conversation,
        *,
        reads: Sequence[Read] = (),
        means: Sequence[MeanRead] = (),
        acts: Sequence[Act] = (),
    ) -> list[TurnRead]:
        out: list[TurnRead] = []
        for i, m in enumerate(conversation):
            if m.role == "assistant":
                words = m.content.split()
                before = Conversation(conversation.messages[:i])
                readings, _, mean = self._run(before, words, acts, reads)
                got = tuple(mean[list(x.layers)] for x in means)
                out.append(TurnRead(i, len(out), len(words), self.pieces(m.content), readings, got))
        return out

    async def score_replies(
        self, prompts: Sequence[Conversation], replies: Sequence[Sequence[str]], *, acts: Sequence[Act] = ()
    ) -> list[list[np.ndarray]]:
        out = []
        for c, options in zip(prompts, replies, strict=True):
            row = []
            for text in options:
                words = text.split() or [""]
                lp = []
                for i, w in enumerate(words):
                    drive = self._stack(self._level(c, words[:i]), f"{c.digest}{i}{w}", acts)[2]
                    lp.append(-2.0 - 0.1 * drive**2 - (zlib.crc32(f"{c.digest}{w}".encode()) % 100) / 50)
                row.append(np.asarray(lp, np.float32))
            out.append(row)
        return out

    def pieces(self, text: str) -> tuple[str, ...]:
        return tuple(w if i == 0 else " " + w for i, w in enumerate(text.split(" ")))

    async def close(self) -> None:
        return None


@pytest.fixture
def planted() -> Planted:
    return Planted()


@pytest.fixture
def make_planted() -> type[Planted]:
    return Planted


@pytest.fixture
def axis() -> Axis:
    vectors = np.zeros((LAYERS, HIDDEN), np.float32)
    vectors[:, 0] = 1.0
    unit = tuple(2 * HEARS * (1 + 0.1 * i) for i in range(LAYERS))
    return Axis(tuple(range(LAYERS)), vectors, tuple(-u / 2 for u in unit), unit, 5)
