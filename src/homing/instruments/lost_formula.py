"""The small language of formulas: parsed and evaluated by a bounded interpreter, so that nothing a model writes is ever run."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["Formula"]


class Formula:
    """A formula in x: whole numbers, ``+ - *``, ``min`` and ``max``, brackets; parsed, then evaluated by this class.

    Bounded: at most 120 characters, 60 tokens, 12 levels of brackets, numbers of 6 digits. Nothing else can be said in it.

    Raises:
        ValueError: the text is no such formula.
    """

    LONGEST, TOKENS, DEPTH = 120, 60, 12
    _TOKEN = re.compile(r"\s*(?:(\d{1,6})(?!\d)|(min|max|x|[-+*(),]))")

    def __init__(self, text: str) -> None:
        if len(text) > self.LONGEST:
            raise ValueError(f"a formula has {len(text)} characters; at most {self.LONGEST}")
        self._tokens: list[str] = []
        at = 0
        text = text.rstrip()
        while at < len(text):
            m = self._TOKEN.match(text, at)
            if m is None or len(self._tokens) >= self.TOKENS:
                raise ValueError(f"no formula from character {at} on: {text[at : at + 12]!r}")
            self._tokens.append(m[1] or m[2])
            at = m.end()
        self._at = 0
        self._tree = self._sum(0)
        if self._at != len(self._tokens):
            raise ValueError("something stands behind the formula")

    def __call__(self, x: int) -> int:
        """Its value."""
        return self._value(self._tree, x)

    def same(self, other: Formula) -> bool:
        """Whether both have the same value for every whole x from -20 to 20."""
        return all(self(x) == other(x) for x in range(-20, 21))

    def _next(self, *allowed: str) -> str:
        token = self._tokens[self._at] if self._at < len(self._tokens) else ""
        if not token or (allowed and token not in allowed):
            raise ValueError(f"{token or 'the end'} stands where {' or '.join(allowed) or 'a value'} should")
        self._at += 1
        return token

    def _peek(self, *tokens: str) -> bool:
        return self._at < len(self._tokens) and self._tokens[self._at] in tokens

    def _sum(self, depth: int) -> tuple[Any, ...]:
        left = self._product(depth)
        while self._peek("+", "-"):
            left = (self._next(), left, self._product(depth))
        return left

    def _product(self, depth: int) -> tuple[Any, ...]:
        left = self._atom(depth)
        while self._peek("*"):
            left = (self._next(), left, self._atom(depth))
        return left

    def _atom(self, depth: int) -> tuple[Any, ...]:
        if depth > self.DEPTH:
            raise ValueError(f"brackets lie more than {self.DEPTH} deep")
        token = self._next()
        if token.isdigit() or token in ("x",):
            return ("n", int(token)) if token.isdigit() else ("x",)
        if token in ("-",):
            return ("-", ("n", 0), self._atom(depth + 1))
        if token in ("(",):
            inner = self._sum(depth + 1)
            self._next(")")
            return inner
        if token not in ("min", "max"):
            raise ValueError(f"{token} stands where a value should")
        self._next("(")
        of = [self._sum(depth + 1)]
        while self._peek(","):
            self._next()
            of.append(self._sum(depth + 1))
        self._next(")")
        return (token, *of)

    def _value(self, tree: tuple[Any, ...], x: int) -> int:
        kind = tree[0]
        if kind in ("x", "n"):
            return x if kind == "x" else int(tree[1])
        values = [self._value(t, x) for t in tree[1:]]
        if kind in ("min", "max"):
            return min(values) if kind == "min" else max(values)
        a, b = values
        return a + b if kind == "+" else a - b if kind == "-" else a * b
