"""The sequences of a context: which rows, stored prefixes and forks of scores have, and the cells of those that do not run."""

from __future__ import annotations

from homing.engine.llamacpp.context import Context
from homing.engine.prefixes import Prefix, PrefixStore

__all__ = ["Sequences"]


class Sequences:
    """Which sequences are free, and what is stored in the others.

    Args:
        context: owns the cells.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.store = PrefixStore(2**62, self._forget)
        self._free = list(range(context.sequences))[::-1]
        self._cells = 0

    def take(self) -> int:
        """A free sequence for a row; old prefixes are let go where there is none."""
        while not self._free and len(self.store):
            self.store.drop_oldest()
        return self._free.pop()

    def room(self, tokens: int, used: int, *, spare: Prefix | None = None) -> int | None:
        """A free sequence with so many cells to fill, after letting go of old prefixes; None where there is none.

        Args:
            used: cells of running rows. ``spare``: a prefix that must stay.
        """
        while len(self.store) and not self._fits(tokens, used):
            if self.store.oldest() is spare:
                return None
            self.store.drop_oldest()
        if not self._fits(tokens, used):
            return None
        self._cells += tokens
        return self._free.pop()

    @property
    def free(self) -> int:
        """Sequences that can be had without letting go of anything."""
        return len(self._free)

    def shrink(self, used: int) -> None:
        """Let go of old prefixes until running rows that fill so many cells have them."""
        while len(self.store) and used + self._cells > self.context.cells:
            self.store.drop_oldest()

    def _fits(self, tokens: int, used: int) -> bool:
        return bool(self._free) and used + self._cells + tokens <= self.context.cells

    def keep(self, tenant: str, prefix: Prefix, *, counted: bool = True) -> None:
        """Store a prefix whose cells are in its sequence.

        Args:
            counted: whether :meth:`room` has counted them.
        """
        if not counted:
            self._cells += len(prefix.tokens)
        self.store.add(tenant, prefix)

    def release(self, sequence: int, cells: int = 0) -> None:
        """Empty a sequence; ``cells``: of those that :meth:`room` gave it."""
        self.context.remove(sequence)
        self._free.append(sequence)
        self._cells -= cells

    def _forget(self, prefix: Prefix) -> None:
        self.release(prefix.kv, len(prefix.tokens))

    def clear(self) -> None:
        """Empty everything, rows too: the same cells are filled in the same order after it."""
        self.store.clear()
        self.context.clear()
        self._free = list(range(self.context.sequences))[::-1]
        self._cells = 0
