# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false
"""The few special functions in use, typed; scipy.special alone loads in a tenth of the time of scipy.stats."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

__all__ = [
    "F64",
    "I64",
    "beta_cdf",
    "beta_quantile",
    "binomial_cdf",
    "f_tail",
    "normal_cdf",
    "normal_quantile",
    "t_quantile",
    "t_tail",
]

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


def normal_quantile(p: float) -> float:
    """Quantile of the standard normal."""
    return float(special.ndtri(p))


def normal_cdf(x: float) -> float:
    """Distribution function of the standard normal."""
    return float(special.ndtr(x))


def t_quantile(p: float, dof: float) -> float:
    """Quantile of Student's t."""
    return float(special.stdtrit(dof, p))


def t_tail(x: float, dof: float) -> float:
    """P(T > x) for Student's t."""
    return float(special.stdtr(dof, -x))


def f_tail(x: float, dof1: float, dof2: float) -> float:
    """P(F > x)."""
    return float(special.fdtrc(dof1, dof2, x))


def beta_cdf(x: float, a: float, b: float) -> float:
    """Distribution function of Beta(a, b)."""
    return float(special.betainc(a, b, x))


def beta_quantile(p: float, a: float, b: float) -> float:
    """Quantile of Beta(a, b)."""
    return float(special.betaincinv(a, b, p))


def binomial_cdf(k: float, n: int, p: float) -> float:
    """P(Binomial(n, p) <= k)."""
    return 0.0 if k < 0 else float(special.bdtr(k, n, p))
