"""card: every figure of an identity by name, with its interval, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from homing.drift.calibration import TRAFFIC
from homing.identity import Identity
from homing.stats.estimate import Estimate, Finding

__all__ = ["CONTRACT", "card", "card_text", "findings_of"]

SCHEMA = "homing.card/1"
CONTRACT = (
    "axis.split_half_raw",
    "axis.split_half",
    "axis.auroc_one",
    "axis.auroc_three",
    "axis.auroc_ceiling",
    "axis.home_percentile",
    "axis.cos_pc1",
    "cap.lift",
    "cap.lift_random",
    "cap.lift_orthogonal",
    "cap.price",
    "alarm.rate",
)
"""Names that are always there: a figure, or null with its reason under ``not_measurable``."""


CONCEPT = {
    f"concept.{k}": "not judged yet; run `homing fracture concept` on this identity" for k in ("questions", "roles")
}
"""Names that are always there too; a map does not judge them by itself."""


def findings_of(identity: Identity) -> dict[str, Finding]:
    """Every finding of an identity by name."""
    out: dict[str, Finding] = {}
    if "persona" in identity.sections:
        raw = identity.section("persona").data["card"]
        out |= {k: Finding.from_json(v) for k, v in raw.items()}
    if "drift" in identity.sections:
        out |= {k: Finding.from_json(v) for k, v in identity.section("drift").data["findings"].items()}
    if TRAFFIC in identity.sections:
        out |= {k: Finding.from_json(v) for k, v in identity.section(TRAFFIC).data["findings"].items()}
    if "concept" in identity.sections:
        out |= {k: Finding.from_json(v) for k, v in identity.section("concept").data["findings"].items()}
    if "cap" in identity.sections:
        data = identity.section("cap").data
        out["cap.lift"] = Finding.from_json(data["proof"]["lift"])
        out |= {f"cap.lift_{k}": Finding.from_json(v) for k, v in data["proof"]["controls"].items()}
        out["cap.harmless"] = Finding.from_json(data["proof"]["harmless"])
        out |= {k: Finding.from_json(v) for k, v in data["price"].items()}
    return out


def primary(name: str, finding: Finding) -> Estimate | None:
    """The figure that a finding is quoted by."""
    for key in ("value", "engaged", "lift", "logprob", "excess", "drift"):
        if key in finding.estimates:
            return finding.estimates[key]
    return next(iter(finding.estimates.values()), None)


def measured(found: Mapping[str, Finding], name: str) -> Estimate | None:
    """The figure that a finding is quoted by; None where it is not there or not measurable."""
    finding = found.get(name)
    return None if finding is None or finding.regime == "not_measurable" else primary(name, finding)


def _figure(e: Estimate) -> dict[str, Any]:
    return {k: v for k, v in e.to_json().items() if k in ("value", "low", "high", "level", "n")}


def card(directory: Path | str) -> dict[str, Any]:
    """One object: ``schema``, each figure by name, and ``not_measurable`` with reasons.

    Raises:
        IdentityError: there is no readable identity in the directory.
    """
    identity = Identity.load(directory)
    found = findings_of(identity)
    out: dict[str, Any] = {"schema": SCHEMA, "identity": identity.digest}
    missing: dict[str, str] = {}
    for name in dict.fromkeys((*CONTRACT, *CONCEPT, *sorted(found))):
        finding = found.get(name)
        e = measured(found, name)
        out[name] = None if e is None else _figure(e)
        if e is None:
            unknown = CONCEPT.get(name, "this identity has no such figure; map with the standard preset")
            missing[name] = unknown if finding is None else finding.reason
    out["not_measurable"] = missing
    return out


def card_text(directory: Path | str) -> str:
    """The same for a person: one line a figure and what it means."""
    identity = Identity.load(directory)
    found = findings_of(identity)
    lines = [
        f"{identity.model['name']} ({identity.model['engine']}, {identity.model['dtype']}), identity {identity.digest[:12]},"
        f" read at layer {identity.section('persona').data['axis']['read_layer']} of {identity.model['layers']}"
    ]
    width = max(len(n) for n in (*found, *CONCEPT))
    for name in dict.fromkeys((*(n for n in CONTRACT if n in found), *sorted(found))):
        finding = found[name]
        e = measured(found, name)
        if e is None:
            lines.append(f"{name:<{width}}  not measurable: {finding.reason}")
        else:
            lines.append(f"{name:<{width}}  {e:.2f}  n={e.n}  {finding.verdict}")
    lines += [f"{name:<{width}}  not measurable: {why}" for name, why in CONCEPT.items() if name not in found]
    return "\n".join(lines)
