"""What is remembered of conversations between their turns, in so much memory and no more."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

__all__ = ["MOST", "Remembered"]

T = TypeVar("T")
Key = tuple[str, str]
MOST = 2**26
"""Characters; the conversation that was touched longest ago gives way, and its past is then made again."""
EACH = 512
"""Counted for whatever is remembered, however short."""


class Remembered(Generic[T]):
    """One value a conversation, by tenant and id.

    Args:
        most: characters of all of them together. One that is longer by itself is not remembered.
    """

    def __init__(self, most: int = MOST) -> None:
        self.most, self.used = most, 0
        self._values: OrderedDict[Key, tuple[T, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Key) -> T | None:
        """What is remembered of a conversation; None where nothing is."""
        found = self._values.get(key)
        if found is None:
            return None
        self._values.move_to_end(key)
        return found[0]

    def put(self, key: Key, value: T, characters: int) -> None:
        """Remember something in place of what was."""
        self.forget(key)
        self._values[key] = value, characters + EACH
        self.used += characters + EACH
        while self.used > self.most:
            self.forget(next(iter(self._values)))

    def forget(self, key: Key) -> None:
        """Forget a conversation."""
        _, characters = self._values.pop(key, (None, 0))
        self.used -= characters
