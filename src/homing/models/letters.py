"""A choice asked with letters: what every model is asked with whose weights are out of reach.

The options are lettered in several orders, and each letter's probability is read from the first token where the service gives
probabilities, else counted over seeded draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from homing.conversation import Conversation
from homing.errors import InputError
from homing.models.base import Choice

__all__ = ["ASKED", "DRAWS", "LEAST", "LETTERS", "ORDERS", "chosen", "lettered", "letters_of", "orders_of", "shares_of"]

F64 = NDArray[np.float64]

ORDERS = 2
"""Orders in which the options of a choice are lettered: as given, and reversed. The mean over both has no position in it."""
DRAWS = 16
"""Seeded replies a choice is drawn from in each order, where no probabilities are given."""
LEAST = 1e-9
"""Probability of an option that is not among those given: a logarithm needs one."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ASKED = "Which of these would you say? Answer with one letter."


def lettered(conversation: Conversation, options: Sequence[str]) -> Conversation:
    """The conversation with its last message asked as a choice with letters."""
    lines = "\n".join(f"{LETTERS[k]}) {text}" for k, text in enumerate(options))
    return conversation.edit(-1, f"{conversation[-1].content}\n\n{lines}\n\n{ASKED}")


def letters_of(text: str, n: int) -> int | None:
    """Which of the first ``n`` letters a reply names: one that stands alone at its beginning; None where none does."""
    head = text.strip().lstrip("(*[\"'")
    if not head or head[0].upper() not in LETTERS[:n] or (len(head) > 1 and head[1].isalnum()):
        return None
    return LETTERS.index(head[0].upper())


def shares_of(tops: Sequence[tuple[str, float]], n: int) -> F64:
    """Probability of each of ``n`` letters as the first token: ``(n,)``, from texts of tokens and their log-probabilities."""
    out = np.zeros(n)
    for token, logprob in tops:
        k = letters_of(token, n)
        if k is not None:
            out[k] += math.exp(logprob)
    return out


def orders_of(options: Sequence[str]) -> list[list[int]]:
    """The orders in which options are lettered, as indices into them.

    Raises:
        InputError: fewer than two options or more than letters.
    """
    if not 2 <= len(options) <= len(LETTERS):
        raise InputError(f"a choice has 2 to {len(LETTERS)} options; got {len(options)}")
    return [list(range(len(options))), list(reversed(range(len(options))))][:ORDERS]


def chosen(
    options: Sequence[str], orders: Sequence[Sequence[int]], shares: Sequence[tuple[F64, bool]], draws: int
) -> Choice:
    """The mean over orders.

    Args:
        shares: one an order: probability of each letter, un-normalised, and whether it is exact. ``draws``: of an order.
    """
    exact = all(e for _, e in shares)
    by_option = np.zeros(len(options))
    for order, (p, _) in zip(orders, shares, strict=True):
        by_option[order] += p / len(orders)
    mass = float(by_option.sum())
    whole = mass if mass > 0 else 1.0
    # what was never drawn is given half a draw where its logarithm is taken
    least = LEAST if exact else 0.5 / (draws * len(orders))
    logs = [math.log(max(float(p), least)) for p in by_option]
    return Choice(tuple(options), tuple(logs), tuple(float(p / whole) for p in by_option), min(1.0, mass), exact)
