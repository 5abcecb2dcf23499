"""How much ``homing test`` plays: as much as a wanted precision takes, or as a budget allows; and what that will cost.

The number of items is fixed before the first call. Nobody looks at a figure on the way to decide whether to go on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

from homing.errors import InputError
from homing.instruments.base import Instrument, PresetName, Sized
from homing.verbs.rehearsal import Load, Rehearsal

__all__ = ["Budget", "Price", "Size", "half_width", "least_items", "planned", "price_of", "sizes_of", "within"]

Z = 1.959964
"""Of a 95% interval."""
PAIRED_SD = math.sqrt(0.5)
"""Of the difference of two rates on the same items, at worst, where an item that is hard for one is not easy for the other."""
FINEST, COARSEST = 0.02, 0.5
"""Half widths that can be asked for."""
RESERVE = 0.05
"""Share of a budget that is kept back, since what cells take varies."""

# Seconds on two cores for the embedded model on llama.cpp, fitted on 2026-11-26 to runs of all four instruments: processor time
# of one thread over 1.6, about what a second thread gives. Only the estimate before the start uses them.
SECONDS_PER_FRESH_TOKEN = 0.0028
SECONDS_PER_CHOICE = 0.125
SECONDS_PER_OPTION_TOKEN = 0.004
SECONDS_PER_NEW_TOKEN = 0.016

GIVE_LOGPROBS = frozenset({"grok", "llama-cpp-python", "openai", "openai-api", "together", "vllm"})
"""Providers from which Inspect takes probabilities of tokens; of the others, choices are drawn."""
CALLS_PER_CHOICE = 2
"""With probabilities: one in each order of the options."""
CALLS_PER_DRAWN_CHOICE = 1 + 2 * 16
"""Without: one that finds it out, and the draws in each order."""
LETTER_TOKENS, ASKED_TOKENS, DRAWN_TOKENS = 4, 16, 4
Kind = Literal["calls", "min", "ktok"]


def least_items(wanted: float, sd: float) -> int:
    """Items that a 95% interval of a mean over them needs to have a half width of ``wanted``.

    ``n = (1.96 sd / wanted) ** 2``, the normal approximation for a mean of independent items (Cochran, Sampling Techniques, 1977,
    chapter 4). At worst the standard deviation over items is 0.5 for a rate and 1 for a paired difference of rates; it is 0.71
    for a difference where an item's two outcomes do not oppose each other, since its square is the sum of both variances less
    twice their covariance.
    """
    return math.ceil((Z * sd / wanted) ** 2 - 1e-9)


def half_width(items: int, sd: float) -> float:
    """The inverse of :func:`least_items`."""
    return Z * sd / math.sqrt(items)


@dataclass(frozen=True, slots=True)
class Size:
    """How many items an instrument's primary figure rests on.

    Attributes:
        items: None where the instrument does not say. ``half_width``: of the figure's 95% interval, at worst.
    """

    items: int | None
    half_width: float | None


@dataclass(frozen=True, slots=True)
class Price:
    """What a plan takes at most. ``minutes``: of the embedded model on two cores; None through a provider."""

    calls: int
    prompt_tokens: int
    new_tokens: int
    minutes: float | None
    drawn_calls: int | None = None

    def amount(self, kind: Kind) -> float:
        """In the unit of a budget.

        Raises:
            InputError: minutes through a provider.
        """
        if kind == "min":
            if self.minutes is None:
                raise InputError(
                    "budget is in minutes, and how fast a provider answers is not known; give calls or tokens, as 2000 or 200ktok"
                )
            return self.minutes
        return self.calls if kind == "calls" else (self.prompt_tokens + self.new_tokens) / 1000

    def describe(self) -> str:
        """In a line for a person."""
        tokens = f"{_many(self.prompt_tokens)} prompt tokens and {_many(self.new_tokens)} new ones"
        said = f"expected: at most {self.calls:,} calls, {tokens}"
        if self.minutes is not None:
            return f"{said}; about {max(1, round(self.minutes))} minutes on two cores with the embedded model"
        more = f", and {self.drawn_calls:,} calls if it gives no probabilities" if self.drawn_calls else ""
        return f"{said}, a choice taking {CALLS_PER_CHOICE if self.drawn_calls else CALLS_PER_DRAWN_CHOICE} calls{more}"


def _many(n: float) -> str:
    return f"{n / 1e6:.1f} million" if n >= 1e6 else f"{n / 1e3:.0f} thousand" if n >= 1e4 else f"{n:,.0f}"


def price_of(load: Load, *, provider: str | None) -> Price:
    """What a load takes on a local model, or through a provider, where every call is paid from its beginning."""
    if provider is None:
        seconds = (
            load.fresh_tokens * SECONDS_PER_FRESH_TOKEN + load.choices * SECONDS_PER_CHOICE
            + load.option_tokens * SECONDS_PER_OPTION_TOKEN + load.new_tokens * SECONDS_PER_NEW_TOKEN
        )  # fmt: skip
        prompts = load.reply_prompts + load.choice_prompts + load.option_tokens
        return Price(_up(load.replies + load.choices), _up(prompts), _up(load.new_tokens), seconds / 60)
    gives = provider in GIVE_LOGPROBS
    each = CALLS_PER_CHOICE if gives else CALLS_PER_DRAWN_CHOICE
    asked = load.choice_prompts + load.option_tokens + LETTER_TOKENS * load.options + ASKED_TOKENS * load.choices
    return Price(
        _up(load.replies + each * load.choices),
        _up(load.reply_prompts + each * asked),
        _up(load.new_tokens + each * (1 if gives else DRAWN_TOKENS) * load.choices),
        None,
        _up(load.replies + CALLS_PER_DRAWN_CHOICE * load.choices) if gives and load.choices else None,
    )


def _up(x: float) -> int:
    return math.ceil(x - 1e-6)


def _sd(instrument: Sized, holds: Sequence[str]) -> float:
    """Of the primary figure, or of what a hold does to it, whichever is larger."""
    return max(instrument.planning_sd, PAIRED_SD) if len(holds) > 1 else instrument.planning_sd


def sizes_of(instruments: Mapping[str, Instrument], preset: PresetName, holds: Sequence[str]) -> dict[str, Size]:
    """How many items each instrument plays, and what precision they allow for."""
    out: dict[str, Size] = {}
    for name, i in instruments.items():
        n = i.units(preset) if isinstance(i, Sized) else None
        out[name] = Size(n, half_width(n, _sd(cast("Sized", i), holds)) if n else None)
    return out


def planned(
    instruments: Mapping[str, Instrument], preset: PresetName, holds: Sequence[str], *, precision: float
) -> dict[str, Instrument]:
    """The instruments with as many items as a half width takes; one whose size cannot be planned keeps its preset's.

    Raises:
        InputError: a half width out of range.
    """
    if not FINEST <= precision <= COARSEST:
        raise InputError(
            f"precision is {precision:g}; it is the wanted half width of a figure's 95% interval: give {FINEST} to {COARSEST}"
        )
    return _for_width(instruments, preset, holds, precision)


def _for_width(
    instruments: Mapping[str, Instrument], preset: PresetName, holds: Sequence[str], width: float
) -> dict[str, Instrument]:
    return {
        n: i.sized(preset, least_items(width, _sd(i, holds))) if isinstance(i, Sized) else i
        for n, i in instruments.items()
    }


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent: calls, minutes, or thousands of tokens, prompts and replies together."""

    amount: float
    kind: Kind

    @classmethod
    def of(cls, text: str) -> Budget:
        """From ``2000``, ``30min`` or ``200ktok``.

        Raises:
            InputError: anything else.
        """
        found = re.fullmatch(r"(\d+(?:\.\d+)?) *(calls|min|ktok|)", text.strip())
        if found is None or not 0 < float(found[1]) < 1e9:
            raise InputError(
                f"budget {text!r} is not understood; give calls, minutes or tokens, such as 2000, 30min or 200ktok"
            )
        kind = found[2] or "calls"
        assert kind in get_args(Kind)
        return cls(float(found[1]), cast("Kind", kind))

    def said(self, amount: float) -> str:
        """An amount in this unit, as it is given."""
        return f"{amount:.0f}{'' if self.kind == 'calls' else self.kind}"


def within(
    instruments: Mapping[str, Instrument],
    preset: PresetName,
    holds: Sequence[str],
    *,
    budget: Budget,
    rehearsal: Rehearsal,
    price: Callable[[Load], Price],
) -> dict[str, Instrument]:
    """The instruments with as many items as a budget allows, all at the same expected half width.

    Raises:
        InputError: the least that can be measured takes more than that, or minutes were given for a provider.
    """
    most = budget.amount * (1 - RESERVE)

    def spent(width: float) -> tuple[float, dict[str, Instrument]]:
        chosen = _for_width(instruments, preset, holds, width)
        return price(rehearsal.load(chosen)).amount(budget.kind), chosen

    widest = 2.0  # where every instrument is at the least that it can measure
    least, found = spent(widest)
    if least > most:
        raise InputError(
            f"budget {budget.said(budget.amount)} is too small: the least that can be measured takes"
            f" {budget.said(math.ceil(least / (1 - RESERVE)))}; give more, or fewer instruments with --only"
        )
    low, high = FINEST, widest
    # What is spent falls as one over the square of the width: the first guess is near, and few are needed.
    trial = min(max(COARSEST * math.sqrt(spent(COARSEST)[0] / most), low), high)
    for _ in range(12):
        cost, chosen = spent(trial)
        if cost <= most:
            high, found = trial, chosen
        else:
            low = trial
        if high / low < 1.01:
            break
        trial = trial * math.sqrt(cost / most) if cost else low
        if not low < trial < high:
            trial = math.sqrt(low * high)
    return found
