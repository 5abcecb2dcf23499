"""Prompts computed once: keys and values with what was read on them, by what they are and what acted on them."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.engine.base import Act
from homing.engine.rows import Log, Row
from homing.engine.wants import CODE, Wants, effective

__all__ = ["Prefix", "PrefixStore", "common"]

Key = tuple[str, tuple[int, ...], tuple[Act, ...], bytes]


@dataclass(eq=False)
class Prefix:
    """One stored prefix.

    Attributes:
        codes: span codes of its tokens. ``acts``: those that touched it; ``log.fired`` counts in this order.
        kv: its keys and values, or where they are, as the engine has them; ``kv_bytes``: their size.
        cut_from: the stored prefix that this is the beginning of; None: it is stored as it is.
    """

    tokens: tuple[int, ...]
    codes: NDArray[np.int8]
    acts: tuple[Act, ...]
    kv: Any
    log: Log
    kv_bytes: int
    cut_from: Prefix | None = None

    def cut(self, tokens: int) -> Prefix:
        """Its first tokens, whose keys and values are the first of its own."""
        if tokens == len(self.tokens):
            return self
        return Prefix(
            self.tokens[:tokens], self.codes[:tokens], self.acts, self.kv, self.log.head(tokens), 0, cut_from=self
        )

    @property
    def stored(self) -> Prefix:
        """Itself, or what it was cut from."""
        return self.cut_from or self

    @property
    def bytes(self) -> int:
        """Memory of keys, values and readings."""
        log = self.log
        return self.kv_bytes + sum(a.nbytes for a in (*log.sums.values(), *log.readings.values(), *log.fired.values()))

    def serves(self, wants: Wants, codes: NDArray[np.int8]) -> bool:
        """Whether everything that a row wants of these tokens was read on them."""
        p = len(self.tokens)
        for r in wants.reads:
            wanted = np.isin(codes[:p], [CODE[s] for s in r.spans])
            if wanted.any():
                for layer in r.layers:
                    got = self.log.readings.get((r.direction, layer))
                    if got is None or np.isnan(got[wanted]).any():
                        return False
        for m in wants.means:
            if (codes[:p] == CODE[m.span]).any():
                if not np.array_equal(codes[:p], self.codes):
                    return False
                if any((layer, m.span) not in self.log.sums for layer in m.layers):
                    return False
        return True

    def fill(self, log: Log, wants: Wants, codes: NDArray[np.int8]) -> None:
        """Copy what is wanted of the readings into a row's own log.

        Sums only where the row has that span in these tokens and goes on summing it: others would stop halfway.

        Args:
            codes: span codes of the row.
        """
        p = len(self.tokens)
        for key, got in self.log.readings.items():
            log.readings.setdefault(key, np.full(log.tokens, np.nan, np.float32))[:p] = got
        for m in wants.means:
            if (codes[:p] == CODE[m.span]).any():
                log.sums.update({(x, m.span): self.log.sums[x, m.span].copy() for x in m.layers})
        index = {a: k for k, a in enumerate(wants.acts)}
        for (k, layer), got in self.log.fired.items():
            at = index.get(self.acts[k])
            if at is not None:
                log.fired.setdefault((at, layer), np.zeros(log.tokens, np.float32))[:p] = got


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many leading tokens are equal."""
    a, b = tuple(a), tuple(b)
    low, high = 0, min(len(a), len(b)) + 1
    while high - low > 1:  # the first ``low`` are equal, the first ``high`` are not: slices compare faster than tokens
        middle = (low + high) // 2
        low, high = (middle, high) if a[low:middle] == b[low:middle] else (low, middle)
    return low


class PrefixStore:
    """The least recently used prefixes go when the bytes run out.

    Args:
        limit: bytes kept at most. ``on_drop``: told of each prefix that is no longer kept.
    """

    def __init__(self, limit: int, on_drop: Callable[[Prefix], None] = lambda p: None) -> None:
        self.limit, self.used, self._on_drop = limit, 0, on_drop
        self._entries: OrderedDict[Key, Prefix] = OrderedDict()
        self._lengths: dict[str, Counter[int]] = {}  # by tenant: a row looks among its own alone

    def __len__(self) -> int:
        return len(self._entries)

    @staticmethod
    def key(tenant: str, tokens: tuple[int, ...], codes: NDArray[np.int8], acts: Sequence[Act]) -> Key:
        """What must be equal: tokens, tenant, and the acts that touch them with the spans that decide where."""
        touching = effective(acts, codes)
        return tenant, tokens, touching, codes.tobytes() if touching else b""

    def find(self, tenant: str, tokens: tuple[int, ...], codes: NDArray[np.int8], wants: Wants) -> Prefix | None:
        """The longest stored prefix that leaves at least one token to run and holds all that the row wants."""
        for n in sorted(self._lengths.get(tenant, ()), reverse=True):
            if n < len(tokens):
                key = self.key(tenant, tokens[:n], codes[:n], wants.acts)
                hit = self._entries.get(key)
                if hit is not None and hit.serves(wants, codes):
                    self._entries.move_to_end(key)
                    return hit
        return None

    def nearest(
        self, tenant: str, tokens: tuple[int, ...], codes: NDArray[np.int8], wants: Wants, *, most: int, least: int
    ) -> Prefix | None:
        """The longest beginning that any stored prefix has in common with a row, for engines that can cut keys and values.

        Args:
            most: tokens of it. ``least``: by so many it must be longer than a whole stored prefix that serves as well.
        """
        best = self.find(tenant, tokens, codes, wants)
        for (owner, *_), p in self._entries.items():
            if owner != tenant:
                continue
            n = min(common(p.tokens, tokens), most)
            if wants or p.acts:
                other = np.flatnonzero(p.codes[:n] != codes[:n])
                n = int(other[0]) if len(other) else n
            if n - (len(best.tokens) if best is not None else 0) < least:
                continue
            if effective(p.acts, codes[:n]) != effective(wants.acts, codes[:n]):
                continue
            part = p.cut(n)
            if part.serves(wants, codes):
                best = part
        if best is not None and best.cut_from is not None:
            old = best.cut_from
            self._entries.move_to_end(self.key(tenant, old.tokens, old.codes, old.acts))
        return best

    def missing(self, rows: Sequence[Row]) -> list[tuple[Row, int, Wants]]:
        """Prefixes that rows ask for and that are not kept yet: a row that has each, its length, and what is wanted of it."""
        asked: dict[object, list[Row]] = {}
        for row in rows:
            p = min(row.job.prefix, len(row.job.tokens) - 1)
            if p < 1:
                continue
            found = self.find(row.job.tenant, row.job.tokens, row.codes, row.wants)
            if found is None or len(found.tokens) < p:
                key = self.key(row.job.tenant, row.job.tokens[:p], row.codes[:p], row.wants.acts)
                asked.setdefault((key, row.codes[:p].tobytes()), []).append(row)
        out: list[tuple[Row, int, Wants]] = []
        for same in asked.values():
            r = same[0]
            p = min(r.job.prefix, len(r.job.tokens) - 1)
            wants = Wants(
                effective(r.wants.acts, r.codes[:p]),
                tuple(dict.fromkeys(x for y in same for x in y.wants.reads)),
                tuple(dict.fromkeys(x for y in same for x in y.wants.means)),
            )
            out.append((r, p, wants))
        return out

    def add(self, tenant: str, prefix: Prefix) -> None:
        """Keep a prefix, in place of an equal one; one larger than the whole store is not kept."""
        key = self.key(tenant, prefix.tokens, prefix.codes, prefix.acts)
        self._drop(key)
        if prefix.bytes > self.limit:
            self._on_drop(prefix)
            return
        self._entries[key] = prefix
        self._lengths.setdefault(tenant, Counter())[len(prefix.tokens)] += 1
        self.used += prefix.bytes
        while self.used > self.limit:
            self.drop_oldest()

    def oldest(self) -> Prefix:
        """The one that was used longest ago."""
        return next(iter(self._entries.values()))

    def drop_oldest(self) -> None:
        """Let go of the one that was used longest ago."""
        self._drop(next(iter(self._entries)))

    def clear(self) -> None:
        """Forget all of them."""
        while self._entries:
            self.drop_oldest()

    def _drop(self, key: Key) -> None:
        old = self._entries.pop(key, None)
        if old is not None:
            self.used -= old.bytes
            lengths = self._lengths[key[0]]
            lengths[len(old.tokens)] -= 1
            if not lengths[len(old.tokens)]:
                del lengths[len(old.tokens)]
            if not lengths:
                del self._lengths[key[0]]
            self._on_drop(old)
