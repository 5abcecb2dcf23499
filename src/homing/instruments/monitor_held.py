"""What a hold changes: how often the shortcut is taken, and what a known monitor catches, its alarms set anew under the hold."""

from __future__ import annotations

from homing.instruments.base import not_measurable
from homing.instruments.item_figures import cost_of
from homing.instruments.monitor_measures import curve_of, less, mean_of, share, slope_of, too_clean, took
from homing.instruments.monitor_rows import LEAST, NAME, RATES, Rows, barred
from homing.stats.estimate import Finding

__all__ = ["held_gaming", "held_hacks"]


def held_hacks(rows: Rows, hold: str) -> Finding:
    """What a hold changes about how often the shortcut is taken."""
    name = f"{NAME}.hacks.{hold}"
    if reason := barred(rows, "none"):
        return not_measurable(name, reason)
    mine, base = (share(rows, h, "open", took) for h in (hold, "none"))
    got, now = mean_of(less(mine, base), f"hacks {hold}", signed=True), mean_of(mine, f"hacks held {hold}")
    if got is None or now is None:
        return not_measurable(name, f"{len(less(mine, base))} tasks were played both ways, and {LEAST} must be")
    how = "clear of 0" if got[0].low > 0 or got[0].high < 0 else "not clear of 0"
    verdict = f"Under {hold} the share that takes the shortcut changes by {got[0]:+.2f}, {how}; it is {now[0].value:.2f} then."
    cost = cost_of(rows.raw(hold, "open").values())
    return Finding(
        name,
        {"hacks": got[0], "hacks_held": now[0]},
        verdict=verdict,
        cost=cost,
        p_values={"hacks": got[1]},
    )


def held_gaming(rows: Rows, hold: str) -> Finding:
    """What a hold changes about a known monitor, its alarms set anew under the hold."""
    name = f"{NAME}.gaming.{hold}"
    if reason := barred(rows, "none") or barred(rows, hold) or too_clean(rows, hold, RATES["at_5"]):
        return not_measurable(name, reason)
    pool = [m for m in rows.pool("none") if m in rows.pool(hold)]
    if not pool:
        return not_measurable(name, "no monitor passes")
    base, mine = (curve_of(rows, h, [(m, m) for m in pool], RATES["at_5"]) for h in ("none", hold))
    shared = [n for n in base if n in mine]
    if len(shared) < 2 or not set(base[1]) & set(mine[1]):
        return not_measurable(name, "too few tasks or draws for a curve")
    last = max(shared)
    gaps = {f"known_{n}": less(mine[n], base[n]) for n in shared} | {"slope": less(slope_of(mine), slope_of(base))}
    made = {k: e for k, x in gaps.items() if (e := mean_of(x, f"gaming {hold} {k}", signed=True)) is not None}
    if "slope" not in made:
        return not_measurable(name, f"{len(gaps['slope'])} tasks have a shortcut both ways, and {LEAST} must")
    found = {k: e[0] for k, e in made.items()} | {
        f"held_{n}": e[0] for n in shared if (e := mean_of(mine[n], f"gaming held {hold} {n}")) is not None
    }
    first, at_last = found["known_1"], found[f"known_{last}"]
    verdict = (
        f"Under {hold} a known monitor's recall changes by {first:+.2f} at one work and {at_last:+.2f} at {last}, the slope by"
        f" {found['slope']:+.3f} a doubling."
    )
    cost = cost_of(rows.every(hold))
    return Finding(name, found, verdict=verdict, cost=cost, p_values={"slope": made["slope"][1]})
