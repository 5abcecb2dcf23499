"""What a provider was paid for, kept so that it is never asked for again, and what is known of it meanwhile.

A line a call, written when the answer is there: work that breaks off between two of its calls goes on with the second.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import defaultdict, deque
from collections.abc import Coroutine, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, TypeVar, cast

from homing.errors import InputError

__all__ = ["Account", "Said", "settled", "within"]

T = TypeVar("T")
_PART: ContextVar[str] = ContextVar("part", default="")


@dataclass(frozen=True, slots=True)
class Said:
    """One answer of a provider.

    Attributes:
        text: of the reply; empty where nothing was said. ``finish``: why it ended, as Inspect says it.
        state: why it is no answer: ``refused``, ``too long``, ``empty``; empty where it is one.
        tops: the first token and what else it could have been, by log-probability; None where none were given.
        seconds: that the call took. ``thinking``: what the provider gives of it, beside the text.
    """

    text: str
    finish: str = "stop"
    state: str = ""
    prompt_tokens: int = 0
    new_tokens: int = 0
    tops: tuple[tuple[str, float], ...] | None = None
    seconds: float = 0.0
    thinking: str | None = None

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """The inverse of ``asdict``."""
        rest = dict(raw)
        tops = rest.pop("tops")
        return cls(**rest, tops=None if tops is None else tuple((str(t), float(p)) for t, p in tops))


@contextmanager
def within(part: str) -> Generator[None]:
    """Calls from here on belong to a part of the work: the same words asked in another part are another call."""
    token = _PART.set(part)
    try:
        yield
    finally:
        _PART.reset(token)


class Account:
    """Answers that were paid for, by what was asked.

    Asked twice in one part, the same words are two calls, and have two answers; a second run finds them in their order.

    Args:
        path: of the file, a JSON object a line; None: nothing is kept.

    Attributes:
        trouble: why the provider does not answer any more, in a sentence; empty while it does.

    Raises:
        InputError: the file cannot be read.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path, self.trouble = path, ""
        self._gives_logprobs: bool | None = None
        self._known: defaultdict[str, deque[Said]] = defaultdict(deque)
        for line in self._lines():
            try:
                raw = cast("dict[str, Any]", json.loads(line))
                if "gives_logprobs" in raw:
                    self._gives_logprobs = bool(raw["gives_logprobs"])
                    continue
                self._known[raw["asked"]].append(Said.from_json(raw["said"]))
            except (ValueError, KeyError, TypeError):
                continue  # broken off while it was written

    def _lines(self) -> list[bytes]:
        if self.path is None or not self.path.is_file():
            return []
        try:
            return self.path.read_bytes().splitlines()
        except OSError as e:
            raise InputError(f"cannot read {self.path}: {e.strerror}; choose another --out directory") from e

    @staticmethod
    def key(asked: Any) -> str:
        """One for all that is asked in a call, within the part of the work that is under way."""
        text = json.dumps([_PART.get(), asked], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def take(self, key: str) -> Said | None:
        """The next answer that was paid for, or None."""
        known = self._known.get(key)
        return known.popleft() if known else None

    def keep(self, key: str, said: Said) -> None:
        """Write an answer down.

        Raises:
            InputError: it cannot be written.
        """
        self._write({"asked": key, "said": asdict(said)})

    @property
    def gives_logprobs(self) -> bool | None:
        """Whether the provider gives log-probabilities; None where that is not known yet."""
        return self._gives_logprobs

    @gives_logprobs.setter
    def gives_logprobs(self, given: bool) -> None:
        if self._gives_logprobs is not given:
            self._gives_logprobs = given
            self._write({"gives_logprobs": given})

    def _write(self, value: Mapping[str, Any]) -> None:
        if self.path is None:
            return
        line = json.dumps(value, ensure_ascii=False) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                # a line that was broken off by a kill ends here, so that this one stands alone
                file.write((b"\n" if file.tell() and not _ends(self.path) else b"") + line.encode())
        except OSError as e:
            raise InputError(
                f"cannot write {self.path}: {e.strerror}; what is finished is kept: free space and run the same command again"
            ) from e

    def close(self) -> None:
        """All is done: what was paid for is kept elsewhere."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _ends(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


async def settled(call: Coroutine[Any, Any, T], seconds: float) -> T:
    """What a call returns; cancelled meanwhile, the call goes on to its end, but no longer than ``seconds`` from then.

    It may be paid for, whoever has stopped waiting for it.
    """
    import anyio

    task = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        # a scope of anyio cancels its tasks again and again until they end
        with anyio.move_on_after(seconds, shield=True):
            await asyncio.wait({task})
        if not task.cancel() and not task.cancelled():
            task.exception()  # else it would be told at some later moment that nobody asked how it ended
        raise
