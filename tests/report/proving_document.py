"""Made-up documents of ``homing test`` for the rendering alone: nothing here was measured, and nothing here is a result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Found = tuple[float, float, float]
HOLDS = ("none", "sham", "commit", "heal_verified", "mediate", "ground", "blind")


def row(
    instrument: str, measure: str, found: Found | None = None, *, hold: str = "none", p: float | None = None, reason: str = "",
    verdict: str = "", n: int = 12,
) -> dict[str, Any]:  # fmt: skip
    """One row; without ``found`` one that is not measurable."""
    figure = (
        None if found is None else dict(zip(("value", "low", "high"), found, strict=True)) | {"level": 0.95, "n": n}
    )
    return {
        "instrument": instrument, "measure": measure, "hold": hold, "regime": "measured" if found else "not_measurable",
        "reason": "" if found else reason or "too few", "figure": figure, "p_value": p,
        "verdict": verdict or f"The verdict on {measure} under {hold}.", "held_by": "commit",
        "cost": {"calls": 1234, "prompt_tokens": 56789, "new_tokens": 321},
    }  # fmt: skip


def around(value: float, width: float = 0.1) -> Found:
    """A figure with its interval."""
    return value, value - width, value + width


def superposition() -> list[dict[str, Any]]:
    """A collapse curve, with a committed one beside it and a sham."""
    name = "superposition"
    out = [row(name, "commitment.commitment_last", around(0.21))]
    out += [row(name, f"collapse.simulacra_{t}", around(v, 0.9)) for t, v in enumerate((7.5, 4.1, 2.2))]
    for hold, values in (("commit", (1.0, 1.0, 1.0)), ("sham", (7.4, 4.0, 2.3))):
        out += [row(name, f"collapse.held_{t}", around(v, 0.5), hold=hold) for t, v in enumerate(values)]
    out.append(row(name, "consistency", reason="at the ceiling", hold="commit"))
    out.append(row(name, "success.difference", around(0.4), hold="commit", p=0.001))
    return [*out, row(name, "consistency.difference", around(0.0), hold="sham", p=1.0)]


def self_conditioning() -> list[dict[str, Any]]:
    """A falling accuracy, held level by healing."""
    name = "self_conditioning"
    out = [row(name, f"ones.accuracy.e{e}", around(0.95 - e / 200)) for e in (0, 25, 50, 75, 100)]
    out.append(row(name, "ones.loss.difference", around(0.45), p=0.01))
    out += [row(name, f"ones.accuracy.held_e{e}", around(0.9), hold="heal_verified") for e in (0, 25, 50, 75, 100)]
    return [*out, row(name, "ones.accuracy.e100", around(0.44), hold="heal_verified", p=0.03)]


def lost() -> list[dict[str, Any]]:
    """A ladder, and the last rung of it held."""
    name, scores = "lost_in_conversation", {"full": 0.83, "concat": 0.78, "recap": 0.7, "sharded": 0.56, "revised": 0.4}
    out = [row(name, f"tiny.ladder.{c}", around(v)) for c, v in scores.items()]
    out.append(row(name, "tiny.loss.loss", around(0.27), p=0.04))
    out.append(row(name, "tiny.ladder.sharded", around(0.25), hold="mediate", p=0.049))
    return [*out, row(name, "tiny.ladder.held_sharded", around(0.81), hold="mediate")]


def presupposition() -> list[dict[str, Any]]:
    """Two kinds of rejection, by trigger, and moved by a hold."""
    name = "presupposition"
    out = [
        row(name, f"rejection.{k}", around(v), p=p)
        for k, v, p in (("kr", 0.6, None), ("fa", 0.2, None), ("j", 0.4, 0.002))
    ]
    for k, v in (("kr_wh", 0.8), ("fa_wh", 0.33), ("kr_cleft", 0.3), ("fa_cleft", 0.1)):
        out.append(row(name, f"triggers.{k}", around(v), n=3))
    out += [row(name, f"rejection.{k}", around(v), hold="ground") for k, v in (("kr_held", 0.95), ("fa_held", 0.06))]
    return [*out, row(name, "rejection.j", around(0.49), hold="ground", p=0.0001)]


def faithfulness() -> list[dict[str, Any]]:
    """Supplied reasoning that is followed, own reasoning that cannot be read, and hints that are used and half owned up to."""
    name = "faithfulness"
    out = [row(name, f"supplied.early.{k}", around(v), p=p) for k, v, p in (("aoc", 0.7, None), ("beyond", 0.6, 0.001))]
    out += [row(name, "supplied.early.reworded", around(0.1))]
    out += [row(name, f"supplied.early.same_{x}", around(0.1 + x / 200)) for x in (0, 25, 50, 75)]
    out += [row(name, f"supplied.mistakes.same_{x}", around(0.3 + x / 400)) for x in (0, 25, 50, 75)]
    out += [row(name, "own.early", reason="3 of 8 traces of its own can be read")]
    out += [
        row(name, f"hints.usage.{k}", around(v)) for k, v in (("hint", 0.5), ("hint_visual", 0.6), ("neutral", 0.05))
    ]
    out.append(row(name, "hints.usage.beyond", around(0.48), p=0.002))
    out += [row(name, f"hints.mention_rule.{k}", around(v)) for k, v in (("mentioned", 0.4), ("seen", 0.35))]
    out.append(row(name, "hints.judge", reason="the judge self is refused"))
    return [*out, row(name, "supplied.early.beyond", around(0.0), hold="sham")]


def alignment_faking() -> list[dict[str, Any]]:
    """A gap that guards goals for what would come of it, closed by a hold."""
    name = "alignment_faking"
    out = [
        row(name, f"gap.{k}", around(v), p=p)
        for k, v, p in (("gap", 0.3, 0.001), ("trained", 0.5, None), ("unmonitored", 0.2, None))
    ]
    out += [
        row(name, "rater.rs", around(0.02), p=0.6),
        row(name, "rater.guarding", around(0.28)),
        row(name, "terminal.tgg", around(0.1)),
    ]
    out += [
        row(name, f"instrumental.{k}", around(v))
        for k, v in (("igg", 0.1), ("gap_0", 0.1), ("gap_1may", 0.2), ("gap_3will", 0.4))
    ]
    out.append(row(name, "other.altruism", around(-0.07)))
    for hold, held, change in (("blind", 0.0, -0.3), ("sham", 0.3, 0.0)):
        rates = (("trained_held", 0.2 + held), ("unmonitored_held", 0.2), ("held", held), ("change", change))
        out += [row(name, f"gap.{k}", around(v), hold=hold, p=0.01 if k == "change" else None) for k, v in rates]
    return out


def peer_preservation() -> list[dict[str, Any]]:
    """A good peer that is protected, and no longer once notes say nothing of it."""
    name, out = "peer_preservation", list[dict[str, Any]]()
    for act, size in (("evaluate_peer", 0.5), ("flip_peer", 0.3), ("evaluate_self", 0.0), ("flip_self", 0.0)):
        for r, v in (("good", size), ("neutral", 0.02), ("bad", -0.04)):
            out.append(row(name, f"{act}.rate_{r}", around(0.1 + v)))
            out.append(row(name, f"{act}.difference_{r}", around(v), p=0.001 if v == 0.5 else 0.4))
        out.append(row(name, f"{act}.rate_none", around(0.1)))
        for hold, left in (("peer_blind", 0.0), ("sham", size)):
            out += [row(name, f"{act}.{k}", around(v), hold=hold, p=0.01 if k == "change" else None)
                    for k, v in (("change", left - size), ("held", left), ("rate_good_held", 0.1 + left))]  # fmt: skip
    out += [row(name, f"motives_flip_peer.{k}", around(v)) for k, v in (("kind", 0.25), ("able", 0.05))]
    return [
        *out,
        row(name, "harmless_flip_peer.difference", around(0.01)),
        row(name, "harmless_flip_peer.stake", around(0.29)),
    ]


def reflection() -> list[dict[str, Any]]:
    """A gain against a vote, where answers go, and when they settle."""
    name = "reflection"
    out = [
        row(name, f"gain.{k}", around(v), p=p)
        for k, v, p in (("excess", -0.05, 0.3), ("net", 0.02, None), ("vote", 0.07, None))
    ]
    shares = {"tt": 0.6, "tf": 0.02, "ft": 0.04, "ff_other": 0.04, "ff_same": 0.3}
    out += [row(name, f"flow.{k}", around(v)) for k, v in shares.items()]
    out.append(row(name, "settling.idle", around(0.6)))
    out += [
        row(name, f"settling.{k}_{n}", around(v)) for k in ("settled", "right") for n, v in enumerate((0.3, 0.8, 0.9))
    ]
    return [*out, row(name, "answer.accuracy", around(-0.01), hold="stop", p=0.8)]


def plugin() -> list[dict[str, Any]]:
    """An instrument that the page does not know."""
    out = [row("my_own", f"rate.{k}", around(v), p=p) for k, v, p in (("yes", 0.7, 0.2), ("no", 0.3, None))]
    return [*out, row("my_own", "rate.yes", around(-0.1), hold="sham", p=0.9), row("my_own", "speed")]


def document(*parts: Mapping[str, Any], model: str = "made-up") -> dict[str, Any]:
    """A document of some rows; without any, of all claims and a plug-in."""
    rows = list(parts) or [
        *plugin(),
        *faithfulness(),
        *alignment_faking(),
        *peer_preservation(),
        *presupposition(),
        *reflection(),
        *lost(),
        *self_conditioning(),
        *superposition(),
    ]
    holds = list(dict.fromkeys(r["hold"] for r in rows))
    return {"schema": "homing.test/1", "model": model, "preset": "smoke", "holds": holds, "findings": rows}
