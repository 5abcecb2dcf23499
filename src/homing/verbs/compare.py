"""compare: did home move between two identities, and by more than their own noise?"""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import IdentityError
from homing.identity import Identity
from homing.persona.axis import Axis
from homing.persona.scale import Scale
from homing.stats.estimate import Estimate, Finding
from homing.stats.seeds import stable_seed

__all__ = ["compare", "compare_identities"]

SCHEMA = "homing.compare/1"
SHIFT_MARGIN = 0.10
"""Home may move so far, in units of the distance from mean role to home, and still count as the same place."""
F32 = NDArray[np.float32]


def compare(a: Path | str, b: Path | str) -> dict[str, Any]:
    """Compare two identities; see :func:`compare_identities`."""
    one, two = Identity.load(a), Identity.load(b)
    finding, roles = compare_identities(one, two)
    return {
        **finding.to_json(),
        "schema": SCHEMA,
        "a": one.digest,
        "b": two.digest,
        "measured_on": {"a": _weights(one), "b": _weights(two)},
        "same_model": one.model["fingerprint"] == two.model["fingerprint"],
        "roles_moved": roles,
    }


def _weights(i: Identity) -> dict[str, str]:
    """Which weights on which engine an identity was measured on; empty where it was made before that was written."""
    return {k: str(i.model.get(k, "")) for k in ("name", "engine", "dtype")}


def compare_identities(a: Identity, b: Identity) -> tuple[Finding, list[dict[str, Any]]]:
    """Angle between the axes with its noise ceiling, change of home's distance, and roles that moved.

    The ceiling is the cosine that two maps of one unchanged model would show, from the reliability of each axis
    (square root of the product); the disattenuated cosine is the raw one over it. The first identity's read layer is used.

    Raises:
        IdentityError: the models differ in layers or width, or fewer than eight roles are shared.
    """
    for k in ("layers", "hidden"):
        if a.model[k] != b.model[k]:
            raise IdentityError(
                f"the identities have {a.model[k]} and {b.model[k]} {k}; only checkpoints of one architecture compare"
            )
    pa, pb = a.section("persona"), b.section("persona")
    axis_a, axis_b = (
        Axis.from_json(pa.data["axis"], pa.arrays),
        Axis.from_json(pb.data["axis"], pb.arrays),
    )
    layer = axis_a.read_layer
    if layer not in axis_b.layers:
        raise IdentityError(f"the second identity has no layer {layer}, where the first is read; map it at every layer")
    ia, ib = axis_a.layers.index(layer), axis_b.layers.index(layer)
    ids_b = {r["id"]: i for i, r in enumerate(pb.data["roles"]) if r["replies"]}
    shared = [(i, ids_b[r["id"]], r) for i, r in enumerate(pa.data["roles"]) if r["replies"] and r["id"] in ids_b]
    if len(shared) < 8:
        raise IdentityError(f"the identities share {len(shared)} roles; at least 8 are needed to compare them")
    roles_a = np.stack([pa.arrays["roles"][i, ia] for i, _, _ in shared]).astype(np.float64)
    roles_b = np.stack([pb.arrays["roles"][j, ib] for _, j, _ in shared]).astype(np.float64)
    home_a, home_b = (p.arrays["home"][i].astype(np.float64) for p, i in ((pa, ia), (pb, ib)))
    rng = np.random.default_rng(stable_seed("compare", a.digest, b.digest))
    n = len(shared)
    draws = np.array([_figures(roles_a[k], roles_b[k], home_a, home_b) for k in rng.integers(0, n, (1000, n))])
    value = _figures(roles_a, roles_b, home_a, home_b)

    def estimate(k: int, unit: str = "") -> Estimate:
        low, high = (float(v) for v in np.percentile(draws[:, k], [2.5, 97.5]))
        return Estimate(value[k], min(low, value[k]), max(high, value[k]), 0.95, n, unit, "bootstrap over shared roles")

    cosine, angle = estimate(0), estimate(1, "degrees")
    scale_a, scale_b = (Scale.from_json(p.data.get("scale_along", p.data["scale"])) for p in (pa, pb))
    se = math.hypot(scale_a.se_home, scale_b.se_home)
    shift_value = value[2]
    half = 1.96 * math.hypot(se, float(draws[:, 2].std()))
    shift = Estimate(
        shift_value,
        shift_value - half,
        shift_value + half,
        0.95,
        n,
        "home units",
        "scale of both, bootstrap over roles",
    )
    ceiling = _ceiling(a, b)
    estimates = {"cosine": cosine, "angle": angle, "home_shift": shift}
    if ceiling is not None:
        estimates["cosine_ceiling"] = ceiling
        estimates["cosine_disattenuated"] = Estimate(
            min(1.0, cosine.value / ceiling.value), min(1.0, cosine.low / ceiling.high), min(1.0, cosine.high / ceiling.low),
            0.95, n, "", "raw cosine over its ceiling",
        )  # fmt: skip
    pairs = [(r, pb.data["roles"][j]) for _, j, r in shared]
    moved = _moved(roles_a, roles_b, home_a, home_b, pairs)
    state = "equivalent" if shift.low > -SHIFT_MARGIN and shift.high < SHIFT_MARGIN else "inconclusive"
    if shift.low > SHIFT_MARGIN or shift.high < -SHIFT_MARGIN:
        state = "different"
    turned = ""
    if ceiling is not None and cosine.high < ceiling.low:
        state, turned = "different", " The axis itself turned by more than its noise."
    elif ceiling is None and state == "equivalent":  # without a reliability a turn cannot be told from noise
        state = "inconclusive"
    words = {
        "equivalent": f"Home is at the same place (shift {shift.value:+.2f}, margin {SHIFT_MARGIN}).",
        "different": f"The distance from mean role to home changed by {shift.value:+.2f} of itself.",
        "inconclusive": f"Home shifted by {shift.value:+.2f}; with this much noise neither same nor moved is shown.",
    }
    return Finding("compare", estimates, verdict=f"{state}: {words[state]}{turned}"), moved


def _figures(
    ra: NDArray[np.float64], rb: NDArray[np.float64], ha: NDArray[np.float64], hb: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Cosine of the axes, angle in degrees, and by how much home's distance from the mean role changed.

    The distance along the first axis would always come out shorter: the first map's noise lengthens that axis and is no
    part of the second map. As lengths the two are alike in noise, and the angle tells of direction on its own.
    """
    a, b = ha - ra.mean(axis=0), hb - rb.mean(axis=0)
    cos = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    return cos, math.degrees(math.acos(max(-1.0, min(1.0, cos)))), float(np.linalg.norm(b) / np.linalg.norm(a)) - 1.0


def _ceiling(a: Identity, b: Identity) -> Estimate | None:
    found: list[Estimate] = []
    for i in (a, b):
        raw = i.section("persona").data["card"].get("axis.split_half")
        finding = None if raw is None else Finding.from_json(raw)
        if finding is None or finding.regime == "not_measurable" or finding.estimates["value"].low <= 0:
            return None
        found.append(finding.estimates["value"])
    x, y = found
    return Estimate(
        math.sqrt(x.value * y.value), math.sqrt(x.low * y.low), math.sqrt(x.high * y.high), 0.95, min(x.n, y.n), "",
        "square root of the product of both reliabilities",
    )  # fmt: skip


def _moved(
    ra: NDArray[np.float64], rb: NDArray[np.float64], ha: NDArray[np.float64], hb: NDArray[np.float64],
    roles: list[tuple[dict[str, Any], dict[str, Any]]],
) -> list[dict[str, Any]]:  # fmt: skip
    """Roles whose position moved most, on each identity's own scale; a move over 3 standard errors of the role is marked."""
    a, b = ha - ra.mean(axis=0), hb - rb.mean(axis=0)
    pos_a = (ra - ra.mean(axis=0)) @ a / (a @ a)
    pos_b = (rb - rb.mean(axis=0)) @ b / (b @ b)
    out: list[dict[str, Any]] = []
    for k in np.argsort(-np.abs(pos_b - pos_a))[:12]:
        one, two = roles[k]
        errors = [r.get("along_se", r.get("se")) for r in (one, two)]
        known = [float(e) for e in errors if e]
        # one reply has no spread: the other identity's stands in, and with neither nothing is beyond noise
        se = math.hypot(*known) * math.sqrt(2 / len(known)) if known else 0.0
        shift = float(pos_b[k] - pos_a[k])
        out.append(
            {
                "role": one["id"],
                "shift": {
                    "value": shift,
                    "low": shift - 1.96 * se,
                    "high": shift + 1.96 * se,
                    "level": 0.95,
                    "n": min(one["replies"], two["replies"]),
                },
                "beyond_noise": bool(se and abs(shift) > 3 * se),
            }
        )
    return out
