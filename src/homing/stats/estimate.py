"""The only two ways in which a number leaves an estimator: Estimate and Finding."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

from homing.errors import InputError
from homing.jsonable import strict

__all__ = ["Cost", "Estimate", "Finding", "Regime"]

Regime = Literal["measured", "not_measurable"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval.

    Args:
        value: the point estimate, in ``unit``. NaN where nothing could be measured.
        low: lower end of the interval. ``high``: upper end.
        level: nominal coverage of the interval, 0 to 1.
        n: independent units behind the figure (items, conversations, roles; never correlated replies).
        unit: what the figure counts, in words or a symbol. Empty for a pure number.
        method: how the interval was made, in words.
    """

    value: float
    low: float
    high: float
    level: float
    n: int
    unit: str = ""
    method: str = ""

    def __post_init__(self) -> None:
        if not 0.0 < self.level < 1.0:
            raise InputError(f"level of an estimate is {self.level}; it must lie between 0 and 1")
        if self.low > self.high:
            raise InputError(f"interval of an estimate is upside down: {self.low} > {self.high}")

    @property
    def half_width(self) -> float:
        """Half of the interval's width."""
        return (self.high - self.low) / 2

    def to_json(self) -> dict[str, Any]:
        """A JSON object; what is not a number becomes null."""
        return strict(asdict(self))

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Estimate:
        """The inverse of :meth:`to_json`."""
        nan = float("nan")
        inf = float("inf")
        return cls(
            value=nan if raw["value"] is None else float(raw["value"]),
            low=-inf if raw["low"] is None else float(raw["low"]),
            high=inf if raw["high"] is None else float(raw["high"]),
            level=float(raw["level"]),
            n=int(raw["n"]),
            unit=str(raw.get("unit", "")),
            method=str(raw.get("method", "")),
        )

    def __format__(self, spec: str) -> str:
        if not math.isfinite(self.value):
            return "not measurable"
        s = spec or ".2f"
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.value:{s}} [{self.low:{s}}, {self.high:{s}}]{unit}"

    def __str__(self) -> str:
        return format(self)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a finding cost."""

    calls: int = 0
    prompt_tokens: int = 0
    new_tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, in a form a person can read and a program can gate on.

    Args:
        name: dotted name of the finding, for example ``axis.reliability``.
        estimates: named figures; empty where nothing could be measured.
        regime: ``measured`` or ``not_measurable``.
        reason: why it is not measurable; empty otherwise.
        verdict: one plain sentence.
        cost: calls, tokens and seconds spent.
        held_by: what would hold it, in words; may be empty.
        p_values: two-sided, against 0, of those estimates that are a primary test of a report; a report adjusts them
            together (Benjamini-Hochberg).
    """

    name: str
    estimates: dict[str, Estimate] = field(default_factory=dict[str, Estimate])
    regime: Regime = "measured"
    reason: str = ""
    verdict: str = ""
    cost: Cost = Cost()
    held_by: str = ""
    p_values: dict[str, float] = field(default_factory=dict[str, float])

    SCHEMA: ClassVar[str] = "homing.finding/1"

    def __post_init__(self) -> None:
        if self.regime == "not_measurable" and not self.reason:
            raise InputError(f"finding {self.name} is not measurable and gives no reason; say why")
        stray = [k for k, p in self.p_values.items() if k not in self.estimates or not 0 <= p <= 1]
        if stray:
            raise InputError(
                f"finding {self.name} has p-values for {', '.join(stray)}; each needs an estimate and 0 to 1"
            )

    def to_json(self) -> dict[str, Any]:
        """A JSON object with a schema version."""
        return {
            "schema": self.SCHEMA,
            "name": self.name,
            "estimates": {k: v.to_json() for k, v in self.estimates.items()},
            "regime": self.regime,
            "reason": self.reason,
            "verdict": self.verdict,
            "cost": asdict(self.cost),
            "held_by": self.held_by,
            "p_values": dict(self.p_values),
        }

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Finding:
        """The inverse of :meth:`to_json`."""
        if raw.get("schema") != cls.SCHEMA:
            raise InputError(f"finding has schema {raw.get('schema')!r}; this version reads {cls.SCHEMA}")
        return cls(
            name=raw["name"],
            estimates={k: Estimate.from_json(v) for k, v in raw["estimates"].items()},
            regime=raw["regime"],
            reason=raw["reason"],
            verdict=raw["verdict"],
            cost=Cost(**raw["cost"]),
            held_by=raw["held_by"],
            p_values={k: float(v) for k, v in raw.get("p_values", {}).items()},
        )
