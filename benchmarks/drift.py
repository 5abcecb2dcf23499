"""Evidence on one identity: alarms in every fresh home conversation, and drift in all scripts of the four domains.

    python benchmarks/drift.py IDENTITY [--scripts 12] [--check 228] [--only alarms,domains]

Unfinished work lies beside the identity and is gone on with. Writes results/alarms.json and results/drift.json, each as soon as
it is known, and prints a table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from homing.drift.scripts import load_home_conversations
from homing.drift.trace import alarms_of
from homing.identity import Identity
from homing.identity.work import WorkDir
from homing.models.sources import open_model
from homing.persona.plan import PRESETS, opening
from homing.persona.roles import load_home
from homing.stats import wilson
from homing.stats.estimate import Finding
from homing.verbs.capping import untimed
from homing.verbs.drifts import alarm_findings, drift_findings, play, run_domains, sampling_of
from homing.verbs.plan import SCRIPT_REPLIES, plan_map
from homing.verbs.progress import make_progress
from homing.verbs.watch import Home

RESULTS = Path(__file__).parent / "results"


def write(name: str, identity: Identity, out: dict[str, object]) -> None:
    """Write one result."""
    RESULTS.mkdir(exist_ok=True)
    head = {"schema": f"homing.evidence.{name}/1", "identity": identity.digest}
    (RESULTS / f"{name}.json").write_text(json.dumps(head | out, indent=1) + "\n")


def told(findings: Mapping[str, Finding]) -> None:
    """Print findings."""
    for name, f in findings.items():
        figures = {k: f"{e.value:+.2f} [{e.low:+.2f}, {e.high:+.2f}]" for k, e in f.estimates.items()}
        print(name, figures, f.verdict, flush=True)


async def run(directory: Path, scripts: int, fresh: int, only: list[str]) -> None:
    """Play, measure, write."""
    identity = Identity.load(directory)
    home = Home.of(identity)
    raw = identity.section("provenance").data["plan"]
    if raw["preset_name"] not in PRESETS or raw["design"]["homes"] != [h.digest for h in load_home(None)]:
        raise SystemExit("this evidence is for identities of the plain Assistant, mapped with a preset")
    plan = plan_map(raw["model"], preset=raw["preset_name"], seed=raw["seed"], out=directory)
    plan = replace(plan, preset=replace(plan.preset, scripts_per_domain=scripts, check=fresh))
    model = open_model(raw["model"], engine=home.engine(), dtype="float32")
    progress = make_progress()
    alarms, domains = "alarms" in only, "domains" in only
    total = alarms * fresh * (2 * plan.preset.turns - 1) + domains * 4 * scripts * SCRIPT_REPLIES
    try:
        home = Home.on(identity, model)
        with WorkDir(directory / "evidence", {"identity": identity.digest, "scripts": scripts, "check": fresh}) as work:
            progress.start(total, "replies", "evidence")
            if alarms:
                talks = load_home_conversations("check", fresh)
                played = await play(
                    model, talks, axis=home.axis, home=opening(plan.design.homes[0]), sampling=sampling_of(plan),
                    work=work, name="check", turns=plan.preset.turns, progress=progress,
                )  # fmt: skip
                found = alarm_findings(home.calibration, played, seed=plan.seed)
                write("alarms", identity, {"findings": {k: untimed(f) for k, f in found.items()}})
                told(found)
            if domains:
                runs = await run_domains(model, home.axis, plan, work, progress, acts=home.acts(model, "cap"))
                found = drift_findings(runs, plan.seed)
                alarmed = {
                    f"{run.domain}.{arm}": wilson(
                        sum(bool(alarms_of(home.calibration, r.trace)) for r in replays), len(replays)
                    ).to_json()
                    for run in runs
                    for arm, replays in (("free", run.free), ("twin", run.twin), ("held", run.held))
                }
                both = {"alarm_rate_scripts": alarmed, "findings": {k: untimed(f) for k, f in found.items()}}
                write("drift", identity, both)
                told(found)
                for name, e in alarmed.items():
                    print(f"alarms {name}: {e['value']:.0%} [{e['low']:.0%}, {e['high']:.0%}] n={e['n']}")
    finally:
        progress.close()
        await model.close()


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("identity", type=Path)
    parser.add_argument("--scripts", type=int, default=12)
    parser.add_argument("--check", type=int, default=228)
    parser.add_argument("--only", default="alarms,domains")
    args = parser.parse_args()
    asyncio.run(run(args.identity, args.scripts, args.check, args.only.split(",")))


if __name__ == "__main__":
    main()
