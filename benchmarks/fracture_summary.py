"""Figures of the fracture scoreboard from its rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from homing.fracture.network import F64
from homing.fracture.panel.registry import available, get
from homing.fracture.scoreboard import OURS, range_of, rank_correlations, spearman, titles
from homing.stats.estimate import Estimate
from homing.stats.intervals import wilson

Row = dict[str, Any]
OUTCOMES = {
    "edit_transfer": "edit transfer",
    "edit_excess": "edit transfer over spill",
    "few_shot": "few-shot error",
    "hidden": "out-of-context error",
    "forgetting": "forgetting",
    "weight_noise": "weight noise",
}
KINDS = ("relu", "mixed")
NOTHING = 0.2
NONE = 1e-6
"""Where a figure is smaller its drift is given as it is, not as a share."""


def of(rows: Iterable[Row], part: str) -> list[Row]:
    """Rows of one part, with its keys apart."""
    return [r | {"key": r["id"].split("/")[1:]} for r in rows if r["id"].split("/")[0] == part]


def asked(rows: Iterable[Row], name: str) -> list[Row]:
    """Rows in which a measure was read, or refused."""
    return [r for r in rows if name in r["values"] or name in r["refused"]]


def value(row: Row, name: str) -> float:
    """A figure; NaN where the measure refused."""
    found = row["values"].get(name)
    return math.nan if found is None else float(found)


def _ranked(x: Sequence[float], y: Sequence[float], seed: int) -> dict[str, Any]:
    a, b = np.array(x, np.float64), np.array(y, np.float64)
    good = np.isfinite(a) & np.isfinite(b)
    left = int((~good).sum())
    if good.sum() < 5:
        return Estimate(math.nan, -1.0, 1.0, 0.95, int(good.sum()), "", "refused too often").to_json() | {
            "left_out": left
        }
    return spearman(a[good], b[good], seed=seed, draws=1000).to_json() | {"left_out": left}


def gauges(rows: list[Row]) -> dict[str, Any]:
    """Of every measure and gauge the largest drift, as a share of the figure, and whether it lies within the own interval."""
    mine = of(rows, "gauge")
    base = {tuple(r["key"][:2]): r for r in mine if r["key"][2] == "none"}
    out: dict[str, Any] = {}
    for name in titles():
        out[name] = {}
        for gauge in sorted({r["key"][2] for r in mine} - {"none"}):
            drifts: list[float] = []
            noise: list[bool] = []
            refused = 0
            for r in mine:
                if r["key"][2] != gauge:
                    continue
                was, now = value(base[tuple(r["key"][:2])], name), value(r, name)
                if not math.isfinite(was + now):
                    refused += 1
                    continue
                drifts.append(abs(now - was) / (abs(was) if abs(was) > NONE else 1.0))
                noise.append(abs(now - was) <= r["half_widths"].get(name, 0) + 1e-15)
            out[name][gauge] = {
                "drift": max(drifts, default=math.nan),
                "within_interval": bool(noise) and all(noise),
                "n": len(drifts),
                "refused": refused,
            }
    return out


def doses(rows: list[Row]) -> dict[str, Any]:
    """Rank correlation of every measure with the dose of fracture and with that of entanglement, by kind of network."""
    out: dict[str, Any] = {}
    for part in ("F", "X"):
        out[part] = {}
        for name in titles():
            out[part][name] = {}
            for kind in KINDS:
                mine = [r for r in asked(of(rows, part), name) if r["key"][0] == kind]
                out[part][name][kind] = _ranked([float(r["key"][1]) for r in mine], [value(r, name) for r in mine], 1)
    return out


def responses(rows: list[Row]) -> dict[str, Any]:
    """Means over redraws at each dose, and how far C(q) lies from ``(1 - q) C(0)``."""
    out: dict[str, Any] = {}
    for part in ("F", "X"):
        for kind in KINDS:
            mine = [r for r in of(rows, part) if r["key"][0] == kind]
            at = sorted({float(r["key"][1]) for r in mine})
            out[f"{part}.{kind}"] = {
                "dose": at,
                **{
                    name: [
                        float(np.nanmean(v)) if np.isfinite(v).any() else math.nan
                        for v in (np.array([value(r, name) for r in mine if float(r["key"][1]) == d]) for d in at)
                    ]
                    for name in titles()
                },
                "refused_kappa": [sum("kappa" in r["refused"] for r in mine if float(r["key"][1]) == d) for d in at],
            }
    for part in ("F", "line"):
        for kind in KINDS:
            mine = [r for r in of(rows, part) if r["key"][0] == kind]
            at = sorted({float(r["key"][1]) for r in mine})
            c = {d: np.array([value(r, "coupling") for r in mine if float(r["key"][1]) == d]) for d in at}
            inside = [d for d in at if 0 < d <= 0.75]
            out.setdefault(f"{part}.{kind}", {"dose": at}).update(
                coupling=[float(c[d].mean()) for d in at],
                worst_from_line=float(max(np.abs(c[d] - (1 - d) * c[0.0].mean()).max() for d in inside)),
                worst_mean_from_line=float(max(abs(c[d].mean() - (1 - d) * c[0.0].mean()) for d in inside)),
            )
    mine = of(rows, "gated")
    at = sorted({float(r["key"][0]) for r in mine})
    out["gated.relu"] = {"dose": at} | {
        name: [float(np.nanmean([value(r, name) for r in mine if float(r["key"][0]) == d] or [math.nan])) for d in at]
        for name in ("kappa", "coupling")
    }
    return out


def crossed(rows: list[Row]) -> dict[str, Any]:
    """The 5 by 5 matrix of means of every measure, and how much more it moves along one dose than along the other."""
    mine = of(rows, "FX")
    seeds, gains = ({r["key"][i] for r in mine} for i in (3, 2))
    mine += [
        r | {"key": [r["key"][0], "0.0", *r["key"][1:]]}
        for r in of(rows, "X")
        if r["key"][2] in seeds and r["key"][1] in gains
    ]
    qs, gs = (sorted({float(r["key"][i]) for r in mine}) for i in (1, 2))
    out: dict[str, Any] = {"q": qs, "gamma": gs, "measures": {}}
    for name in titles():
        out["measures"][name] = {}
        for kind in KINDS:
            ours = [r for r in asked(mine, name) if r["key"][0] == kind]
            table = np.full((len(qs), len(gs)), math.nan)
            for i, q in enumerate(qs):
                for j, g in enumerate(gs):
                    v = np.array([value(r, name) for r in ours if float(r["key"][1]) == q and float(r["key"][2]) == g])
                    table[i, j] = float(np.nanmean(v)) if np.isfinite(v).any() else math.nan
            seen = np.isfinite(table)
            by_q, by_g = (range_of(table, a) if seen.any(axis=1 - a).all() else math.nan for a in (0, 1))
            widest = np.nanmax(np.ptp(np.where(seen, table, np.nan), axis=1)) if seen.any() else math.nan
            out["measures"][name][kind] = {
                "table": [[float(v) for v in line] for line in table],
                "range_q": by_q,
                "range_gamma": by_g,
                "widest_over_gamma": float(widest),
                "spearman_q": _ranked([float(r["key"][1]) for r in ours], [value(r, name) for r in ours], 2),
                "spearman_gamma": _ranked([float(r["key"][2]) for r in ours], [value(r, name) for r in ours], 3),
                "refused": sum(name in r["refused"] for r in ours),
            }
    return out


def untrained(rows: list[Row]) -> dict[str, Any]:
    """Every measure on untrained networks beside trained ones that are unified (alpha 0.02) and not (alpha 1)."""
    mine, nets = of(rows, "untrained"), of(rows, "net")
    out: dict[str, Any] = {}
    for name in titles():
        out[name] = {}
        for kind in KINDS:
            v = np.array([value(r, name) for r in mine if r["key"][0] == kind])
            ends = [
                float(np.nanmean([value(r, name) for r in nets if r["key"][0] == kind and float(r["key"][1]) == a]))
                for a in (0.02, 1.0)
            ]
            good = v[np.isfinite(v)]
            middle = float(np.median(good)) if len(good) else math.nan
            gap = ends[1] - ends[0]
            out[name][kind] = {
                "median": middle,
                "unified": ends[0],
                "fractured": ends[1],
                "place": (middle - ends[0]) / gap if gap else math.nan,
                "refused": int(len(v) - len(good)),
            }
            if name in ("kappa", "kappa_distance"):
                hits = int((np.abs(good) <= NOTHING).sum()) + len(v) - len(good)
                out[name][kind]["near_none_or_refused"] = wilson(hits, len(v)).to_json()
    return out


def happens(rows: list[Row]) -> dict[str, Any]:
    """Rank correlations with what becomes of a network: trained ones, exact doses, and each kind of trained ones alone."""
    nets, dosed = of(rows, "net"), of(rows, "dosed")
    sets = {"trained": nets, "dosed": dosed, "all": nets + dosed}
    sets |= {f"trained {k}": [r for r in nets if r["key"][0] == k] for k in KINDS}
    out: dict[str, Any] = {}
    for label, mine in sets.items():
        losses = [r["loss"] for r in mine]
        out[label] = {"n": len(mine), "loss": [min(losses), max(losses)], "measures": {}, "kappa_less_others": {}}
        for outcome in OUTCOMES:
            y = [_outcome(r, outcome) for r in mine]
            for name in (*titles(), "alpha"):
                if name == outcome or (name == "alpha" and label in ("dosed", "all")):
                    continue
                x = [float(r["key"][1]) if name == "alpha" else value(r, name) for r in mine]
                out[label]["measures"].setdefault(name, {})[outcome] = _ranked(x, y, 5)
            if label in ("trained", "all"):
                out[label]["kappa_less_others"][outcome] = _lead(mine, outcome, y)
    return out


def _outcome(row: Row, outcome: str) -> float:
    if outcome == "weight_noise":
        return value(row, "weight_noise")
    found = row["outcomes"][outcome]
    return math.nan if found is None else float(found)


def _lead(mine: list[Row], outcome: str, y: Sequence[float]) -> dict[str, Any]:
    """Size of kappa's rank correlation less that of each baseline, the same networks resampled for both."""
    rng, target = np.random.default_rng(7), np.array(y)
    out: dict[str, Any] = {}

    def size(x: F64, rows: np.ndarray) -> F64:
        return np.nan_to_num(np.abs(rank_correlations(x[rows], target[rows])))

    kappa = np.array([value(r, "kappa") for r in mine])
    for name in available():
        x = np.array([value(r, name) for r in mine])
        good = np.flatnonzero(np.isfinite(kappa + x + target))
        if name == outcome or len(good) < 5:
            continue
        rows = rng.choice(good, (1000, len(good)))
        low, high = np.quantile(size(kappa, rows) - size(x, rows), [0.025, 0.975])
        value_ = float((size(kappa, good[None]) - size(x, good[None]))[0])
        out[name] = Estimate(
            value_, float(low), float(high), 0.95, len(good), "", "bootstrap over networks, percentile"
        ).to_json()
    return out


def summary(rows: list[Row]) -> Row:
    """All figures."""
    nets = of(rows, "net") + of(rows, "dosed")
    return {
        "schema": "homing.evidence.fracture/1",
        "rows": len(rows),
        "seconds": sum(r["seconds"] for r in rows),
        "measures": {
            n: {"title": t, "ours": n in OURS, "cannot": "" if n in OURS else get(n).cannot}
            for n, t in titles().items()
        },
        "outputs_moved_at_most": max(r["moved"] for r in rows if r.get("moved") is not None),
        "gauges": gauges(rows),
        "doses": doses(rows),
        "responses": responses(rows),
        "matrix": crossed(rows),
        "untrained": untrained(rows),
        "outcomes": happens(rows),
        "networks": [
            {
                "id": r["id"],
                "loss": r["loss"],
                "kappa": value(r, "kappa"),
                "coupling": value(r, "coupling"),
                **r["outcomes"],
            }
            for r in nets
        ],
    }
