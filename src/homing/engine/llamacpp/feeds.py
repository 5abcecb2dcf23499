"""Tokens of one sequence to run, and what feeds that start alike need not run twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from homing.engine.prefixes import Prefix, common
from homing.engine.rows import Log
from homing.engine.wants import SPANS, Wants, effective

__all__ = ["LEAST", "Codes", "Feed", "Shared", "alike"]

Codes = NDArray[np.int8]
LEAST = 8
"""Tokens that a feed must have in common with another for a pass of its own to be worth it."""


@dataclass(eq=False)
class Feed:
    """Tokens of one sequence to run.

    Attributes:
        codes: span codes, which decide where acts touch. ``read``: the same, -1 where nothing is read.
        tenant: whose they are; what one tenant computed is not given to another.
        known: so many leading tokens are in the sequence already. ``wanted``: which of the rest give logits.
        lead: of a continuation that is scored, so many tokens of its prompt may come from elsewhere.
    """

    sequence: int
    tokens: tuple[int, ...]
    codes: Codes
    read: Codes
    wants: Wants
    log: Log
    tenant: str = ""
    known: int = 0
    wanted: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    lead: int = 0

    def start(self, prefix: Prefix) -> None:
        """Take over what was read on the first tokens; their cells are the caller's to copy."""
        prefix.fill(self.log, self.wants, self.codes)
        self.wanted = self.wanted[len(prefix.tokens) - self.known :]
        self.known = len(prefix.tokens)

    def head(self, tokens: int) -> Prefix:
        """The first tokens with what was read on them; sums are not among it, since they cannot be cut."""
        return Prefix(
            self.tokens[:tokens], self.codes[:tokens], self.wants.acts, self.sequence, self.log.head(tokens), 0
        )


@dataclass(frozen=True, slots=True)
class Shared:
    """Feed ``late`` has its first ``tokens`` in common with feed ``first``, which runs before it (places in a list)."""

    late: int
    first: int
    tokens: int


def alike(feeds: Sequence[Feed]) -> list[list[Shared]]:
    """Which feeds wait for which, so that a common start is run once: those that wait for one that does not, then theirs."""
    depth = [0] * len(feeds)
    out: list[list[Shared]] = []
    for i, f in enumerate(feeds):
        shared = [Shared(i, j, _common(f, feeds[j])) for j in range(i)]
        best = max(shared, key=lambda s: (s.tokens, -depth[s.first]), default=None)  # of equals the first
        if best is not None and best.tokens - f.known >= LEAST:
            depth[i] = depth[best.first] + 1
            if depth[i] > len(out):
                out.append([])
            out[depth[i] - 1].append(best)
    return out


def _common(late: Feed, first: Feed) -> int:
    """How many leading tokens ``late`` may take from ``first``: equal, acted on alike, read alike; at least one is left."""
    if late.tenant != first.tenant or min(len(late.tokens) - 1, len(first.tokens)) - late.known < LEAST:
        return 0
    asked = np.flatnonzero(late.wanted)  # a token whose logits are wanted runs by itself
    most = min(len(late.tokens) - 1, len(first.tokens), late.known + int(asked[0]) if len(asked) else 2**31)
    if most - late.known < LEAST:
        return 0
    low = common(late.tokens[:most], first.tokens)
    other = np.flatnonzero(late.codes[:low] != first.codes[:low])
    low = int(other[0]) if len(other) else low
    codes = late.codes[:low]
    here = {SPANS[int(c)] for c in np.unique(codes)}
    if effective(late.wants.acts, codes) != effective(first.wants.acts, codes):
        return 0
    if any(m.span in here for m in late.wants.means):
        return 0
    mine = [r for r in late.wants.reads if r.spans & here]
    if any(r not in first.wants.reads for r in mine):
        return 0
    if mine and not (np.array_equal(late.read[:low], codes) and np.array_equal(first.read[:low], codes)):
        return 0
    return low
