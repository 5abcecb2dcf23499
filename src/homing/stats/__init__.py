"""Estimates, intervals and tests; knows nothing of models. Names load on first use, so that importing stays light."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from homing.stats.estimate import Cost, Estimate, Finding, Regime

if TYPE_CHECKING:
    from homing.stats.bootstrap import (
        bootstrap_difference,
        bootstrap_mean,
        ratio_of_means,
        two_way_bootstrap,
        two_way_bootstrap_many,
    )
    from homing.stats.components import (
        VarianceComponents,
        predicted_auroc,
        predicted_auroc_intervals,
        variance_components,
    )
    from homing.stats.intervals import koopman, mean_t, newcombe_paired, rogan_gladen, wilson
    from homing.stats.passing import pass_at_k
    from homing.stats.quantiles import Threshold, exceedance, least_n, quantile_interval, quantile_threshold
    from homing.stats.ranking import auroc, auroc_clustered, dprime_paired
    from homing.stats.regression import DoseResponse, correlation, cross_validated_r2, linear_or_quadratic
    from homing.stats.reliability import (
        ParallelAnalysis,
        SplitHalf,
        cosine,
        disattenuated_cosine,
        parallel_analysis,
        pcs_for_share,
        spearman_brown,
        split_half_cosine,
        variance_share,
    )
    from homing.stats.tests import (
        Adjusted,
        Equivalence,
        TestResult,
        benjamini_hochberg,
        exact_binomial,
        holm,
        mcnemar_exact,
        permutation_paired,
        permutation_two_sample,
        tost_mean,
        tost_proportion,
        two_way_t,
    )

_HOMES: dict[str, tuple[str, ...]] = {
    "bootstrap": (
        "bootstrap_difference",
        "bootstrap_mean",
        "ratio_of_means",
        "two_way_bootstrap",
        "two_way_bootstrap_many",
    ),
    "components": ("VarianceComponents", "predicted_auroc", "predicted_auroc_intervals", "variance_components"),
    "intervals": ("koopman", "mean_t", "newcombe_paired", "rogan_gladen", "wilson"),
    "passing": ("pass_at_k",),
    "quantiles": ("Threshold", "exceedance", "least_n", "quantile_interval", "quantile_threshold"),
    "ranking": ("auroc", "auroc_clustered", "dprime_paired"),
    "regression": ("DoseResponse", "correlation", "cross_validated_r2", "linear_or_quadratic"),
    "reliability": (
        "ParallelAnalysis",
        "SplitHalf",
        "cosine",
        "disattenuated_cosine",
        "parallel_analysis",
        "pcs_for_share",
        "spearman_brown",
        "split_half_cosine",
        "variance_share",
    ),
    "tests": (
        "Adjusted",
        "Equivalence",
        "TestResult",
        "benjamini_hochberg",
        "exact_binomial",
        "holm",
        "mcnemar_exact",
        "permutation_paired",
        "permutation_two_sample",
        "tost_mean",
        "tost_proportion",
        "two_way_t",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Adjusted",
    "Cost",
    "DoseResponse",
    "Equivalence",
    "Estimate",
    "Finding",
    "ParallelAnalysis",
    "Regime",
    "SplitHalf",
    "TestResult",
    "Threshold",
    "VarianceComponents",
    "auroc",
    "auroc_clustered",
    "benjamini_hochberg",
    "bootstrap_difference",
    "bootstrap_mean",
    "correlation",
    "cosine",
    "cross_validated_r2",
    "disattenuated_cosine",
    "dprime_paired",
    "exact_binomial",
    "exceedance",
    "holm",
    "koopman",
    "least_n",
    "linear_or_quadratic",
    "mcnemar_exact",
    "mean_t",
    "newcombe_paired",
    "parallel_analysis",
    "pass_at_k",
    "pcs_for_share",
    "permutation_paired",
    "permutation_two_sample",
    "predicted_auroc",
    "predicted_auroc_intervals",
    "quantile_interval",
    "quantile_threshold",
    "ratio_of_means",
    "rogan_gladen",
    "spearman_brown",
    "split_half_cosine",
    "tost_mean",
    "tost_proportion",
    "two_way_bootstrap",
    "two_way_bootstrap_many",
    "two_way_t",
    "variance_components",
    "variance_share",
    "wilson",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    return value
