"""The page docs/fracture-scoreboard.md from the figures of results/fracture.json."""

from __future__ import annotations

import math
from typing import Any

from fracture_summary import KINDS, NOTHING, OUTCOMES

from homing.fracture.panel.registry import available

Row = dict[str, Any]
EXACT, NEAR = 1e-6, 0.02
"""Largest drift, as a share of the figure, that B2 allows under G1 to G3 and rotation, and under G4 and G5."""
FOLLOWS, APART = 0.95, 5.0


def _number(x: float | None, spec: str = ".2f") -> str:
    return "–" if x is None or not math.isfinite(x) else f"{x:{spec}}"


def _interval(e: Row, spec: str = ".2f") -> str:
    if e["value"] is None:
        return "–"
    return f"{e['value']:{spec}} [{_number(e['low'], spec)}, {_number(e['high'], spec)}]"


def _mark(good: bool | None) -> str:
    return "–" if good is None else "yes" if good else "no"


def marks(found: Row, name: str) -> Row:
    """What a measure passes. ``gauge``: B2. ``fracture``, ``entanglement``: follows that dose (B3). ``apart``: which one it
    follows five times as much as the other (B4). ``untrained``: such networks are not scored as unified.
    """  # fmt: skip
    drifts = found["gauges"][name]
    gauge = all(
        d["n"] > 0 and d["drift"] is not None and d["drift"] <= (NEAR if g[:2] in ("G4", "G5") else EXACT)
        for g, d in drifts.items()
        if g[0] in "GR"
    )

    def follows(part: str) -> bool:
        each = [found["doses"][part][name][k]["value"] for k in KINDS]
        return all(v is not None and abs(v) >= FOLLOWS for v in each) and len({v > 0 for v in each if v is not None}) == 1

    ratios = []
    for kind in KINDS:
        m = found["matrix"]["measures"][name][kind]
        ok = m["range_q"] is not None and m["range_gamma"] is not None
        ratios.append(m["range_q"] / max(m["range_gamma"], 1e-12) if ok else math.nan)
    apart = "fracture" if min(ratios) >= APART else "entanglement" if max(ratios) <= 1 / APART else "neither"
    places = [found["untrained"][name][k]["place"] for k in KINDS]
    near = [found["untrained"][name][k].get("near_none_or_refused") for k in KINDS]
    if near[0] is not None:
        fresh = all(n["value"] >= 0.95 for n in near)
    else:
        fresh = all(p is not None and p >= 0.5 for p in places)
    return {"gauge": gauge, "fracture": follows("F"), "entanglement": follows("X"), "apart": apart, "ratios": ratios, "untrained": fresh}


def page(found: Row) -> str:
    """The page."""
    m, out = found["measures"], list[str]()
    add = out.append
    trained = found["outcomes"]["trained"]
    add("# Fracture: which score passes which test")
    add("")
    add("<!-- written by benchmarks/fracture.py from benchmarks/results/fracture.json -->")
    add("")
    add(
        "Two networks can give the same answers and be wired differently inside. Every score below, ours and others', was read on "
        "networks whose wiring is known because it was made: the same function written in another way (gauges, which must not move a "
        f"score), and the same function with a known dose of fracture or of entanglement. No construction moved an output by more "
        f"than {found['outputs_moved_at_most']:.0e}. A score is about one named concept, here the left and right half of a small face. "
        "It is no score of a network as a whole, and a unified network is neither the more robust nor the better one."
    )
    add("")
    add(f"{found['rows']} readings, {found['seconds'] / 60:.0f} minutes on one core, seeds fixed: `python benchmarks/fracture.py`.")
    add("")
    add("## Marks")
    add("")
    add("| score | gauges leave it (B2) | follows fracture (B3) | follows entanglement | tells them apart (B4) | untrained is not unified (A3) |")
    add("|---|---|---|---|---|---|")
    for name in m:
        k = marks(found, name)
        add(
            f"| {m[name]['title']} | {_mark(k['gauge'])} | {_mark(k['fracture'])} | {_mark(k['entanglement'])} | {k['apart']} "
            f"({', '.join(_number(r, '.2g') for r in k['ratios'])}) | {_mark(k['untrained'])} |"
        )
    add("")
    add(
        f"B2: drift of at most {EXACT:g} of the figure under permutation, rescaling, mixing and rotation, and of {NEAR:g} under clones "
        f"and dead units, on four networks. B3: rank correlation with the dose of at least {FOLLOWS} in size and of one sign in ReLU and "
        "mixed networks, eight redraws of fracture and four of entanglement. B4: it moves at least five times as far over one dose as over the other on the crossed grid; "
        "in brackets its range over fracture divided by its range over entanglement, for ReLU and mixed. A3: of kappa, within "
        f"{NOTHING} of 0 or refused in at least 95% of untrained networks; of others, nearer to the fractured than to the unified trained ones."
    )
    add("")
    add("## Drift under gauges")
    add("")
    names = list(next(iter(found["gauges"].values())))
    add("| score | " + " | ".join(names) + " |")
    add("|---|" + "---|" * len(names))
    for name in m:
        cells = [found["gauges"][name][g] for g in names]
        add(
            f"| {m[name]['title']} | "
            + " | ".join(_number(c["drift"], ".1g") + (" (noise)" if c["within_interval"] and (c["drift"] or 0) > EXACT else "") for c in cells)
            + " |"
        )
    add("")
    add("Scaling linear units is outside the gauge that is fixed, and no part of the mark: unity moves under it, which is a limit of ours.")
    add("")
    add("Largest drift as a share of the figure; *noise*: within the score's own interval, as where weights or shuffles are drawn.")
    add("")
    add("## Doses")
    add("")
    add("| score | fracture, ReLU | fracture, mixed | entanglement, ReLU | entanglement, mixed |")
    add("|---|---|---|---|---|")
    for name in m:
        add(f"| {m[name]['title']} | " + " | ".join(_interval(found["doses"][p][name][k]) for p in ("F", "X") for k in KINDS) + " |")
    add("")
    add("Rank correlation with the dose, 95% interval from resampled redraws; – where the score does not vary or refuses.")
    add("")
    for kind in KINDS:
        r = found["responses"][f"F.{kind}"]
        add(f"Fracture in the {kind} network: C at q = {', '.join(f'{d:g}' for d in r['dose'])} is "
            f"{', '.join(_number(v) for v in r['coupling'])}; kappa {', '.join(_number(v) for v in r['kappa'])}. The mean lies at most "
            f"{_number(r['worst_mean_from_line'], '.3f')} from the line (1 - q) C(0) up to q = 0.75, the worst redraw "
            f"{_number(r['worst_from_line'], '.3f')} (the bound is 0.12).")  # fmt: skip
        x = found["responses"][f"X.{kind}"]
        add(f"Entanglement: at gain {', '.join(f'{d:g}' for d in x['dose'])} E is {', '.join(_number(v) for v in x['entanglement'])} and "
            f"kappa {', '.join(_number(v) for v in x['kappa'])}.")  # fmt: skip
        add("")
    g = found["responses"]["gated.relu"]
    add(f"With physical copies behind a gate that is an input (ReLU), C is {', '.join(_number(v) for v in g['coupling'])} at "
        f"q = {', '.join(f'{d:g}' for d in g['dose'])}: below the line, since what a copy gives is private there too.")  # fmt: skip
    add("")
    add("## Fracture crossed with entanglement")
    add("")
    for name in ("kappa", "entanglement"):
        for kind in KINDS:
            t = found["matrix"]["measures"][name][kind]
            add(f"{m[name]['title']}, {kind}: over entanglement at one q it moves by at most {_number(t['widest_over_gamma'])}; rank correlation "
                f"with q {_interval(t['spearman_q'])}, with gamma {_interval(t['spearman_gamma'])}; {t['refused']} refused.")  # fmt: skip
            add("")
            add("| q \\ gamma | " + " | ".join(f"{x:g}" for x in found["matrix"]["gamma"]) + " |")
            add("|---|" + "---|" * len(found["matrix"]["gamma"]))
            for q, line in zip(found["matrix"]["q"], t["table"], strict=True):
                add(f"| {q:g} | " + " | ".join(_number(v) for v in line) + " |")
            add("")
    add("The matrix of every other score is in the JSON.")
    add("")
    add("## Untrained networks")
    add("")
    add("| score | ReLU: untrained (unified, fractured) | mixed: untrained (unified, fractured) | refused of 20 and 20 |")
    add("|---|---|---|---|")
    for name in m:
        u = [found["untrained"][name][k] for k in KINDS]
        add(f"| {m[name]['title']} | "
            + " | ".join(f"{_number(v['median'], '.3g')} ({_number(v['unified'], '.3g')}, {_number(v['fractured'], '.3g')})" for v in u)
            + f" | {u[0]['refused']}, {u[1]['refused']} |")  # fmt: skip
    add("")
    for name in ("kappa", "kappa_distance"):
        each = [found["untrained"][name][k]["near_none_or_refused"] for k in KINDS]
        add(f"{m[name]['title']}: within {NOTHING} of 0 or refused in {_interval(each[0])} of ReLU and {_interval(each[1])} of mixed networks.")
        add("")
    add("## What becomes of them")
    add("")
    lo, hi = trained["loss"]
    add(
        f"{trained['n']} networks trained on the face to one loss ({lo:.5f} to {hi:.5f}), ReLU and mixed, that read (1 - alpha) |x| and "
        "alpha x with alpha from 0.02 to 1. Then: an edit on one side, and what it does on the other; the right cheek after the left "
        "one was recoloured from 12 points; the right eye, which was never shown; the face after a second task; 1% weight noise. "
        "Rank correlations over networks, exploratory: alpha moves most of them at once, and stands in the last row."
    )
    add("")
    for label in ("trained", "dosed", *(f"trained {k}" for k in KINDS)):
        block = found["outcomes"][label]
        add(f"### {label[0].upper() + label[1:]}, n = {block['n']}")
        add("")
        add("| score | " + " | ".join(OUTCOMES.values()) + " |")
        add("|---|" + "---|" * len(OUTCOMES))
        for name, cells in block["measures"].items():
            title = "alpha, the recipe itself" if name == "alpha" else m[name]["title"]
            add(f"| {title} | " + " | ".join(_interval(cells[o]) if o in cells else "–" for o in OUTCOMES) + " |")
        add("")
        if label == "dosed":
            add("Exact doses q = 0 to 1 of four of them: the same function, the same loss to the last digit.")
            add("")
    add("### Does kappa go with outcomes more closely than the others?")
    add("")
    lead = trained["kappa_less_others"]
    add("| baseline | " + " | ".join(OUTCOMES[o] for o in lead) + " |")
    add("|---|" + "---|" * len(lead))
    for name in available():
        add(f"| {m[name]['title']} | " + " | ".join(_interval(lead[o][name], "+.2f") if name in lead[o] else "–" for o in lead) + " |")
    add("")
    add("Size of kappa's rank correlation less that of the baseline, trained networks; above 0 where kappa is the closer.")
    add("")
    add("## What each of the others cannot do")
    add("")
    for name in available():
        add(f"- {m[name]['title']}: {m[name]['cannot']}.")
    add("")
    return "\n".join(out)
