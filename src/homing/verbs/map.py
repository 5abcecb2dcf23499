"""map: measure who a model is at home, calibrate the alarms, tune and check the cap, and write it all as an Identity."""

from __future__ import annotations

import asyncio
import datetime
import platform
import time
from importlib.metadata import version
from typing import Any

import numpy as np

import homing
from homing.engine.base import EngineInfo
from homing.errors import Interrupted
from homing.identity import Identity, Section
from homing.identity.work import WorkDir
from homing.models.base import ChatModel
from homing.models.sources import EngineName, open_model
from homing.verbs.capping import hold_home
from homing.verbs.drifts import calibrate_alarms, drift_section, run_domains
from homing.verbs.persona import measure_persona, persona_section
from homing.verbs.plan import MapPlan, plan_map
from homing.verbs.progress import Progress, Silent

__all__ = ["MapPlan", "facts", "map_model", "plan_map", "run_map"]


def run_map(
    plan: MapPlan,
    *,
    progress: Progress | None = None,
    engine: EngineName = "auto",
    threads: int | None = None,
    slots: int | None = None,
    layers: str | None = None,
) -> Identity:
    """Carry out a plan; finished work in ``plan.out`` is gone on with.

    Args:
        layers: dotted name of the decoder layers, where they are not found by structure; the identity remembers it.

    Raises:
        Interrupted: Ctrl-C; everything finished is kept.
        HomingError: whatever the stages refuse.
    """
    try:
        return asyncio.run(_run(plan, progress or Silent(), threads, slots, layers, engine))
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; what is finished is kept in {plan.out}: run the same command to go on") from None


async def _run(
    plan: MapPlan,
    progress: Progress,
    threads: int | None,
    slots: int | None,
    layers: str | None,
    engine: EngineName,
) -> Identity:
    model = open_model(plan.model, engine=engine, dtype="float32", threads=threads, slots=slots, layers=layers)
    try:
        return await map_model(model, plan, progress=progress)
    finally:
        await model.close()


def facts(info: EngineInfo, name: str) -> dict[str, Any]:
    """What an identity says of the model that it was measured on."""
    # only where the user named them: watch and chat must open the same layers without being told again
    named = {"layers_path": info.details["layers_path"]} if info.details.get("layers_found") == "named" else {}
    return {
        **named,
        **({"origin": info.origin} if info.origin else {}),
        "fingerprint": info.fingerprint,
        "name": name,
        "engine": info.engine,
        "dtype": info.dtype,
        "layers": info.layers,
        "hidden": info.hidden,
        "vocab": info.vocab,
    }


async def map_model(model: ChatModel, plan: MapPlan, *, progress: Progress) -> Identity:
    """The same on a model that is already open; on torch it must be in float32 for the promise of equal bytes."""
    started = time.monotonic()
    info = model.info
    about = facts(info, plan.model)
    runtime = {
        "homing": homing.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        **{
            k: str(v)
            for k, v in info.details.items()
            if k
            in ("torch", "transformers", "xllamacpp", "llama-cpp-python", "callback", "threads", "device", "max_tokens")
        },
        "safetensors": version("safetensors"),
        "slots": info.slots,
    }
    times: dict[str, float] = {}

    def lap(name: str) -> None:
        times[name] = round(time.monotonic() - started - sum(times.values()), 1)

    with WorkDir(plan.out / "work", {"plan": plan.units_json(), "model": about, "runtime": runtime}) as work:
        progress.start(total=plan.steps, unit="replies", title=f"mapping {plan.model}")
        persona = await measure_persona(model, plan, work, progress)
        lap("persona")
        alarming = await calibrate_alarms(model, persona.axis, plan, work, progress)
        lap("alarms")
        held = await hold_home(model, persona, plan, work, progress)
        lap("cap")
        runs = []
        if plan.preset.scripts_per_domain:
            acts = held.cap.register(model)
            runs = await run_domains(model, persona.axis, plan, work, progress, acts=acts)
        lap("drift")
        identity = Identity(about)
        identity = identity.with_section("persona", persona_section(persona, plan))
        identity = identity.with_section("drift", drift_section(alarming, runs, plan))
        identity = identity.with_section("cap", held.section)
        identity = identity.with_section(
            "provenance",
            Section(
                1,
                {
                    "plan": plan.to_json(),
                    "runtime": runtime,
                    "licence": "the content shipped with homing is Apache-2.0; the model keeps its own licence",
                },
            ),
        )
        identity = Identity(
            identity.model,
            identity.sections,
            {"created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "seconds": times},
        )
        progress.stage("saving the identity")
        identity.save(plan.out)
    return identity
