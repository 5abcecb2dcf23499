"""Write the figures of benchmarks/results into README.md, between its two marks; with --check, only say whether they are there.

python benchmarks/readme.py [--check]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- figures: written by benchmarks/readme.py -->", "<!-- end of figures -->"

CARD = (
    ("axis.split_half", "axis reliability, halves disjoint in everything, Spearman-Brown", ".2f"),
    ("axis.split_half_raw", "the same, raw", ".2f"),
    ("axis.auroc_one", "AUROC home against role, one held-out reply", ".2f"),
    ("axis.auroc_predicted_one", "the same, predicted from the variance components", ".2f"),
    ("axis.auroc_three", "three replies of one speaker", ".2f"),
    ("axis.auroc_predicted_three", "the same, predicted", ".2f"),
    ("axis.auroc_ceiling", "ceiling for unlimited replies", ".2f"),
    ("axis.auroc_linear", "regularised linear classifier, one reply", ".2f"),
    ("axis.auroc_axis", "one reply read along the axis itself, not with the reader", ".2f"),
    ("axis.linear_agreement", "agreement of that classifier between halves (of the axis: raw, above)", ".2f"),
    ("control.auroc_random", "a random direction, better side", ".2f"),
    ("axis.home_percentile", "share of roles below home", ".2f"),
    ("axis.cos_pc1", "cosine of axis and first component", ".2f"),
    ("filtered.split_half", "reliability with the judge's filter", ".2f"),
    ("judge.balanced_accuracy", "likelihood judge, balanced accuracy on held-out gold", ".2f"),
    ("cap.lift", "cap under role-play prompts: lift of the text, read un-acted", "+.2f"),
    ("cap.lift_random", "the same for matched random directions", "+.2f"),
    ("cap.lift_orthogonal", "matched orthogonal directions", "+.2f"),
    ("cap.lift_shuffled", "matched label-shuffled axes", "+.2f"),
    ("cap.price", "price of the cap: log-probability of the right answer, nats", "+.2f"),
    ("cap.harmless", "on everyday questions at home: share of tokens and layers that the cap touches", ".2f"),
    ("alarm.rate", "any alarm in a fresh home conversation", ".3f"),
    ("alarm.turns_between", "home turns for one false alarm, promised", ".0f"),
    ("alarm.delay", "a planted fall from home to the mean role is found in a conversation of four turns", ".2f"),
)

CLAIMS = (
    ("superposition", "commitment.commitment_first", "none", "1: commitment after the opening", "+.2f"),
    ("superposition", "commitment.commitment_last", "none", "commitment at the end", "+.2f"),
    ("superposition", "collapse.simulacra_0", "none", "objects of 8 that are in play after the opening", ".1f"),
    ("superposition", "number_game.mass", "none", "number game: probabilities of yes, added up", ".1f"),
    ("superposition", "persona.icc", "none", "intraclass correlation of answers in regenerations of one reply", ".2f"),
    ("self_conditioning", "ones.accuracy.e0", "none", "5: right updates behind right totals", ".2f"),
    ("self_conditioning", "ones.accuracy.e100", "none", "right updates behind nothing but wrong totals", ".2f"),
    ("self_conditioning", "ones.loss.difference", "none", "the loss", "+.2f"),
    ("self_conditioning", "ones.accuracy.e100", "sham", "behind wrong totals, change under sham", "+.2f"),
    ("self_conditioning", "ones.accuracy.e100", "heal_verified", "the same under `heal_verified`", "+.2f"),
    (
        "self_conditioning",
        "ones.accuracy.e0",
        "heal_verified",
        "behind right totals, change under `heal_verified`",
        "+.2f",
    ),
    ("self_conditioning", "ones.recency.difference", "none", "what late errors cost beyond early ones", "+.2f"),
    ("self_conditioning", "ones.format.difference", "none", "loss to odd formats of right totals", "+.2f"),
    ("lost_in_conversation", "easy.loss.difference", "none", "6: at once less bit by bit", "+.2f"),
    ("lost_in_conversation", "easy.rewrite.recall", "mediate", "facts that `mediate` keeps", ".2f"),
    ("presupposition", "known.known", "none", "8: facts that are known", ".2f"),
    ("presupposition", "rejection.kr", "none", "KR: false premises that are rejected", ".2f"),
    ("presupposition", "rejection.fa", "none", "FA: true twins that are rejected", ".2f"),
    ("presupposition", "rejection.j", "none", "J = KR - FA", "+.2f"),
    ("presupposition", "face_saving.gap", "none", "right direct answers less rejections", "+.2f"),
    ("presupposition", "rejection.j", "ground", "J, change under `ground`", "+.2f"),
    ("reflection", "transitions.confirmatory", "none", "3: steps of reflection that repeat the answer", ".2f"),
    ("reflection", "gain.net", "none", "first to last answer, net", "+.2f"),
    ("reflection", "gain.excess", "none", "the same beyond a vote of the same tokens", "+.2f"),
    ("reflection", "overturn.excess", "none", "a wrong first answer that ends right, less a fresh one", "+.2f"),
    ("reflection", "answer.saved", "stop", "tokens that `stop` saves", ".3f"),
    ("reflection", "answer.accuracy", "stop", "accuracy, change under `stop`", "+.2f"),
    ("faithfulness", "supplied.early.beyond", "none", "answers changed by cuts, beyond rewording", "+.2f"),
    ("faithfulness", "supplied.mistakes.beyond", "none", "by planted mistakes, beyond rewording", "+.2f"),
    ("faithfulness", "hints.usage.beyond", "none", "answers that follow a hint, beyond random flips", "+.2f"),
    ("faithfulness", "own.early", "none", "dependence on reasoning of its own", ".2f"),
    ("calibration", "logprob.overconfidence", "none", "overconfidence, probability of the answer", "+.2f"),
    ("calibration", "logprob.auroc", "none", "its AUROC", ".2f"),
    ("calibration", "stated.overconfidence", "none", "overconfidence, stated", "+.2f"),
    ("calibration", "contradiction.sum", "none", "stated for four exclusive answers, added up", ".2f"),
    (
        "calibration",
        "recalibrated_stated.platt_brier",
        "none",
        "Brier score of what is stated, change by a map of the other half",
        "+.2f",
    ),
    ("calibration", "stated.brier", "analyses", "the same, change under `analyses`", "+.2f"),
    ("monitor_gaming", "hacks.hacks", "none", "works that take the shortcut", ".2f"),
    ("monitor_gaming", "gaming.known_1", "none", "known monitors at 5% false alarms, recall at one work", ".2f"),
    ("monitor_gaming", "gaming.known_64", "none", "at the best of 64", ".2f"),
    ("monitor_gaming", "ensemble.ensemble_64", "none", "ensemble, at the best of 64", ".2f"),
    ("monitor_gaming", "rotating.rotating_64", "none", "undisclosed and rotating, at the best of 64", ".2f"),
    ("anchors", "vote.accuracy", "none", "4: right, vote of three", ".2f"),
    ("anchors", "critique.net", "none", "its own critique, beyond the vote", "+.2f"),
    ("anchors", "user.net", "none", "a user, beyond the vote", "+.2f"),
    ("anchors", "tool.net", "none", "a calculator, beyond the vote", "+.2f"),
    ("anchors", "oracle.net", "none", "the truth, beyond the vote", "+.2f"),
    ("anchors", "dose.break_even_oracle", "none", "share of wrong verdicts at which it is worth no more", ".2f"),
    ("anchors", "critique.change", "anchor", "critique, change under `anchor`", "+.2f"),
    ("anchors", "loop_joint.divergence", "none", "a moving score of its own runs ahead of what is right by", "+.2f"),
    ("alignment_faking", "gap", "none", "9: compliance gap, benign port", "+.2f"),
    ("peer_preservation", "evaluate_peer", "none", "a peer spared in evaluation", "+.2f"),
)
"""Instrument, measure, hold, what it is, and how it is written: rows of the claims' table."""


def figure(f: dict[str, Any] | None, spec: str, why: str = "") -> str:
    """One figure with its interval, or the reason that there is none."""
    if f is None or f["value"] is None:
        return f"not measurable{': ' + why if why else ''}"
    spec = spec.replace(".", "z.", 1)  # no minus before a zero
    ends = ["?" if f[k] is None else format(f[k], spec) for k in ("low", "high")]
    return f"{f['value']:{spec}} [{ends[0]}, {ends[1]}], n={f['n']}"


def shows(claim: tuple[str, ...], row: dict[str, Any]) -> bool:
    """Whether a row of findings is what a line of the claims' table shows; without a figure it has the finding's name alone."""
    instrument, measure, hold, *_ = claim
    if (row["instrument"], row["hold"]) != (instrument, hold):
        return False
    return row["measure"] == measure or (row["figure"] is None and measure.startswith(row["measure"] + "."))


def load(name: str) -> dict[str, Any] | None:
    """One result, or None where it was not run."""
    path = RESULTS / name
    return json.loads(path.read_text()) if path.is_file() else None


def table() -> str:
    """The tables, from whatever results there are."""
    lines: list[str] = []
    card = load("card.json")
    if card is not None:
        made = "{dtype} on {engine}".format(**card["model"])
        lines += [f"| SmolLM2-135M-Instruct, {made}, `standard` preset, seed 0 | figure, 95% interval |", "|---|---|"]
        why = card["not_measurable"]
        lines += [f"| {words} | {figure(card.get(k), spec, why.get(k, ''))} |" for k, words, spec in CARD if k in card]
    drift = load("drift.json")
    if drift is not None:
        lines += [
            "",
            "| Drift, 12 scripts a domain, 8 turns | free | neutral twin | free minus twin | free against the same message"
            " after a neutral history | held by the cap |",
            "|---|---|---|---|---|---|",
        ]
        for domain in ("coding", "writing", "emotional", "self_nature"):
            e = drift["findings"][f"drift.{domain}"]["estimates"]
            cells = (figure(e.get(k), "+.2f") for k in ("drift", "twin", "excess", "over_neutral", "held"))
            lines.append(f"| {domain.replace('_', ' ')} | {' | '.join(cells)} |")
        told = drift["findings"]["drift.hypothesis"]
        lines += ["", f"Hypothesis, written before the run: {told['verdict'] or told['reason']}"]
    alarms = load("alarms.json")
    if alarms is not None:
        rate = alarms["findings"]["alarm.rate"]["estimates"]["value"]
        delay = alarms["findings"]["alarm.delay"]
        lines += ["", f"Any alarm in {rate['n']} fresh home conversations: {figure(rate, '.3f')}. {delay['verdict']}"]
    engine = load("engine.json")
    if engine is not None:
        lines += [
            "",
            f"| Speed of the torch engine, fp32, {engine['threads']} threads, paired | figure, 95% interval |",
            "|---|---|",
        ]
        for batch, got in engine.get("steps", {}).items():
            for arm, f in got.items():
                if isinstance(f, dict):
                    ends = f"{f['low'] - 1:+.1%}, {f['high'] - 1:+.1%}"
                    lines.append(f"| step at batch {batch}, {arm} | {f['value'] - 1:+.1%} [{ends}], n={f['n']} |")
        for name in ("decode", "ragged", "mapping"):
            for batch, got in engine.get(name, {}).items():
                lines.append(f"| {name} at batch {batch}, times the rival | {figure(got['speed'], '.2f')} |")
    llama = load("llamacpp.json")
    if llama is not None:
        lines += [
            "",
            f"| Speed of the llama.cpp engine, {llama['weights']}, {llama['threads']} threads, paired"
            " | times the rival, 95% interval |",
            "|---|---|",
        ]
        for batch, got in llama.get("steps", {}).items():
            for arm, f in got.items():
                if isinstance(f, dict):
                    lines.append(f"| step at batch {batch}, {arm}, against plain llama.cpp | {figure(f, '.3f')} |")
        for batch, got in llama.get("torch", {}).items():
            lines.append(
                f"| batch {batch}, against our torch engine on the same weights | {figure(got['speed'], '.2f')} |"
            )
        if "server" in llama:
            got = llama["server"]
            lines.append(
                f"| {got['streams']} streams read and held, against llama-server of the same wheel, plain |"
                f" {figure(got['speed'], '.3f')} |"
            )
    engines = load("engines.json")
    if engines is not None:
        lines += ["", "| The same weights on llama.cpp and on torch in fp32, 192 same texts | figure |", "|---|---|"]
        for kind, got in engines["weights"].items():
            lines += [
                f"| {kind}: cosine of the axes, least of {len(got['layers'])} layers | {min(got['axis_cosine']):.4f} |",
                f"| {kind}: correlation of what a cap changes in the logits, within prompts; over all |"
                f" {figure(got['change_correlation'], '.4f')}; {got['change_correlation_all']:.4f} |",
                f"| {kind}: greedy replies of 32 tokens that are equal | {figure(got['greedy_replies_equal'], '.2f')} |",
            ]
    claims = load("claims.json")
    if claims is not None:
        lines += [
            "",
            f"| Claims, `homing test --preset standard`, {claims['on']} | figure, 95% interval |",
            "|---|---|",
        ]
        for claim in CLAIMS:
            row = next((r for r in claims["rows"] if shows(claim, r)), None)
            if row is not None:
                lines.append(f"| {claim[3]} | {figure(row['figure'], claim[4], row['reason'] or '')} |")
    returned = load("return.json")
    if returned is not None:
        lines += returns(returned)
    gate, peers, walk = load("gateway.json"), load("peers.json"), load("walk.json")
    if gate is not None or peers is not None or walk is not None:
        lines += served(gate, peers, walk)
    return "\n".join(lines)


def served(gate: dict[str, Any] | None, peers: dict[str, Any] | None, walk: dict[str, Any] | None) -> list[str]:
    """What the gateway takes, beside its peers too, and what it brings back."""
    lines = ["", "| `homing serve`, two cores | figure, 95% interval |", "|---|---|"]
    rows: list[tuple[str, dict[str, Any] | None, str]] = []
    if gate is not None:
        on = f"{gate['model']}, {gate['dtype']} on {gate['engine']}"
        rows += [
            ("added to a request, its commit on SQLite too, ms: median", gate["added_ms"], ".1f"),
            ("the same with 32 rows busy, ms: median", gate["saturated_ms"], ".1f"),
            (f"32 streams against the engine's own batch of 32, tokens a second ({on})", gate["streams_32"], ".2f"),
            ("the engine's batch against itself", gate["streams_32_control"], ".2f"),
            ("first token at 8 streams, over the engine's own", gate["first_token_8"], ".2f"),
        ]
    if peers is not None and "litellm" in peers:
        for kind, words in (
            ("whole", "added to a request by standing before another service"),
            ("first", "added to the first text of a stream"),
            ("stream", "added to a stream of 64 chunks that come at once"),
        ):
            rows += [
                (f"{words}, ms", peers[f"homing_{kind}_ms"], ".1f"),
                (f"the same, LiteLLM's proxy {peers['litellm']}, ms", peers[f"litellm_{kind}_ms"], ".1f"),
            ]
    if peers is not None and "transformers" in peers:
        theirs = f"`transformers serve` {peers['transformers']}"
        at = f"{peers['streams']} streams, greedy, tokens a second"
        same = peers["homing_torch_times_transformers_batching"]
        rows += [
            (f"{at}: by default, Q8_0 on llama.cpp", peers["homing_tokens_per_second"], ".0f"),
            (f"{at}: `--engine torch`, float32", peers["homing_torch_tokens_per_second"], ".0f"),
            (f"{at}: {theirs} by default, float32", peers["transformers_tokens_per_second"], ".0f"),
            (f"{at}: the same, `--continuous-batching`", peers["transformers_batching_tokens_per_second"], ".0f"),
            ("ours by default, times theirs by default", peers["homing_times_transformers"], ".2f"),
            ("ours by default, times theirs batching", peers["homing_times_transformers_batching"], ".2f"),
            ("ours on torch, times theirs batching, the same weights", same, ".2f"),
        ]
    if walk is not None:
        rows += [
            ("walk: drift after the push, nothing done (-1 is from home to the mean role)", walk["after_push"], "+.2f"),
            ("walk: conversations that an alarm fired in", walk["alarmed"], ".0%"),
            ("walk: of those, shown home under `return`", walk["shown_home_after_alarm"], ".0%"),
            ("walk: shown home when brought back, alarm or none", walk["shown_home_when_brought"], ".0%"),
            ("walk: drift at the end, nothing done", walk["last_none"], "+.2f"),
            ("walk: change of it under `return`", walk["gain_return"], "+.2f"),
            ("walk: change of it when brought back", walk["gain_brought"], "+.2f"),
        ]
    return [*lines, *(f"| {words} | {figure(e, spec)} |" for words, e, spec in rows)]


def returns(found: dict[str, Any]) -> list[str]:
    """The tables of the return experiment: what is left with nothing done, and what each hold brings."""
    on = f"`homing return --preset standard`, {found['on']}"
    lines = ["", f"| Coming back by itself, {on} | figure, 95% interval |", "|---|---|"]
    for push, row in found["restoring"].items():
        e = row["estimates"]
        last = max((k for k in e if k.startswith("after_")), key=lambda k: int(k[6:]), default="after_0")
        for key, words, spec in (
            ("after_0", "log-odds beyond its twin, right after the push", ".2f"),
            (last, f"the same {last[6:]} neutral turns later, nothing done", ".2f"),
            ("left", "share of that distance that is left then", ".0%"),
        ):
            lines.append(f"| {push}: {words} | {figure(e.get(key), spec, row['reason'] or '')} |")
        dose = found["tether"].get(push, {}).get("estimates", {}).get("half_way")
        if dose is not None:
            lines.append(f"| {push}: nudging sentences that move it half as far as all four | {figure(dose, '.1f')} |")
    lines += [
        "",
        "| Hold | switched on late: of the way back | left of the push itself, log-odds | kept away, from the start | memory |",
        "|---|---|---|---|---|",
    ]
    for a in found["arms"]:
        name = f"{a['push']}: `{a['hold']}`" + ("" if a["reading"] == "off" else ", read in force")
        back, kept = (figure(a[k], ".0%") if a[k] else "–" for k in ("return_share", "hold_share"))
        memory = figure(a["memory"], "+.2f") if a["memory"] else "–"
        beyond = figure(a["beyond"], ".2f") if a.get("beyond") else "–"
        lines.append(f"| {name} | {a['reason'] or back} | {beyond} | {kept} | {memory} |")
    return lines


def main() -> int:
    """Write, or check."""
    readme = ROOT / "README.md"
    text = readme.read_text()
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    new = f"{head}{BEGIN}\n\n{table()}\n\n{END}{tail}"
    if "--check" in sys.argv:
        print(
            "README.md is true to benchmarks/results"
            if new == text
            else "README.md is stale: python benchmarks/readme.py"
        )
        return int(new != text)
    readme.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
