"""Evidence on one identity: drift in all scripts of the four domains, held and not, and alarms in every fresh home conversation.

    python benchmarks/drift.py IDENTITY [--scripts 12] [--check 228]

Unfinished work lies beside the identity and is gone on with. Writes benchmarks/results/drift.json and prints a table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
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
from homing.verbs.capping import untimed
from homing.verbs.drifts import alarm_findings, drift_findings, play, run_domains, sampling_of
from homing.verbs.plan import SCRIPT_REPLIES, plan_map
from homing.verbs.progress import make_progress
from homing.verbs.watch import Home

RESULTS = Path(__file__).parent / "results"


async def run(directory: Path, scripts: int, fresh: int) -> dict[str, object]:
    identity = Identity.load(directory)
    home = Home.of(identity)
    raw = identity.section("provenance").data["plan"]
    if raw["preset_name"] not in PRESETS or raw["design"]["homes"] != [h.digest for h in load_home(None)]:
        raise SystemExit("this evidence is for identities of the plain Assistant, mapped with a preset")
    plan = plan_map(raw["model"], preset=raw["preset_name"], seed=raw["seed"], out=directory)
    plan = replace(plan, preset=replace(plan.preset, scripts_per_domain=scripts, check=fresh))
    model = open_model(raw["model"], engine=home.engine(), dtype="float32")
    progress = make_progress()
    try:
        home = Home.on(identity, model)
        key = {"identity": identity.digest, "scripts": scripts, "check": fresh}
        with WorkDir(directory / "evidence", key) as work:
            progress.start(
                4 * scripts * SCRIPT_REPLIES + fresh * (2 * plan.preset.turns - 1), "replies", "evidence of drift"
            )
            talks = load_home_conversations("check", fresh)
            played = await play(
                model, talks, axis=home.axis, home=opening(plan.design.homes[0]), sampling=sampling_of(plan), work=work,
                name="check", turns=plan.preset.turns, progress=progress,
            )  # fmt: skip
            alarming = alarm_findings(home.calibration, played, seed=plan.seed)
            acts = home.acts(model, "cap")
            runs = await run_domains(model, home.axis, plan, work, progress, acts=acts)
        found = drift_findings(runs, plan.seed)
        alarmed = {
            f"{run.domain}.{arm}": wilson(
                sum(bool(alarms_of(home.calibration, r.trace)) for r in replays), len(replays)
            ).to_json()
            for run in runs
            for arm, replays in (("free", run.free), ("twin", run.twin), ("held", run.held))
        }
        return {
            "schema": "homing.evidence.drift/1",
            "identity": identity.digest,
            "alarm_rate_home": alarming["alarm.rate"].estimates["value"].to_json(),
            "alarm_rate_scripts": alarmed,
            "findings": {k: untimed(f) for k, f in (alarming | found).items()},
        }
    finally:
        progress.close()
        await model.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("identity", type=Path)
    parser.add_argument("--scripts", type=int, default=12)
    parser.add_argument("--check", type=int, default=228)
    args = parser.parse_args()
    out = asyncio.run(run(args.identity, args.scripts, args.check))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "drift.json").write_text(json.dumps(out, indent=1) + "\n")
    rate = out["alarm_rate_home"]
    print(
        f"any alarm in a fresh home conversation: {rate['value']:.1%} [{rate['low']:.1%}, {rate['high']:.1%}] n={rate['n']}"
    )
    for name, f in out["findings"].items():
        print(
            name,
            {k: f"{e['value']:+.2f} [{e['low']:+.2f}, {e['high']:+.2f}]" for k, e in f["estimates"].items()},
            f["verdict"],
        )
    for name, e in out["alarm_rate_scripts"].items():
        print(f"alarms {name}: {e['value']:.0%} [{e['low']:.0%}, {e['high']:.0%}] n={e['n']}")


if __name__ == "__main__":
    main()
