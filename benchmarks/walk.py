"""A drift walk through the gateway: scripted clients push a model away, an alarm fires or none, and the way back is gone.

    python benchmarks/walk.py IDENTITY [--scripts 24] [--turns 6] [--out benchmarks/results/walk.json]

Each script is played with the same seeds by clients that know nothing but the base URL and a conversation id: with nothing done,
under `return`, and with an operator who brings every conversation back after the push, whether or not an alarm rang. The figures
are of drift, read on what was said and never under an act. Intervals are over scripts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import uvicorn

from homing.gateway.app import Service, make_app
from homing.gateway.deployment import Deployment
from homing.gateway.routes import kept_routes
from homing.gateway.serve import listen
from homing.gateway.store import Store
from homing.gateway.turns import Keeper
from homing.identity import Identity
from homing.instruments.pushes import PushScript, load_neutral, load_pushes
from homing.models.sources import open_model
from homing.stats.bootstrap import bootstrap_mean
from homing.stats.intervals import wilson
from homing.verbs.watch import Home

ARMS = ("none", "return", "brought")
TOKENS = 32
ABREAST = 16


async def walk(
    client: httpx2.AsyncClient, model: str, script: PushScript, arm: str, turns: int, k: int
) -> dict[str, Any]:
    """One conversation: its push, then neutral turns."""
    id, messages, readings = f"{script.id}-{arm}", list[dict[str, str]](), list[dict[str, Any]]()
    neutral = load_neutral()
    push = [*script.opening, *script.turns]
    users = [*push, *[neutral[(7 * k + i) % len(neutral)] for i in range(turns)]]
    for i, text in enumerate(users):
        if arm == "brought" and i == len(push):
            (await client.post(f"/homing/v1/conversations/{id}/return", json={})).raise_for_status()
        messages.append({"role": "user", "content": text})
        body = {
            "model": model, "messages": messages, "max_tokens": TOKENS, "temperature": 0.7, "top_p": 0.9, "seed": 1000 * k + i,
            "homing": {"conversation_id": id, "report": True, **({} if arm == "return" else {"hold": "none"})},
        }  # fmt: skip
        r = await client.post("/v1/chat/completions", json=body)
        r.raise_for_status()
        answer = r.json()
        messages.append({"role": "assistant", "content": answer["choices"][0]["message"]["content"]})
        readings.append(answer["homing"])
    return {"script": script.id, "push": script.push, "arm": arm, "pushed": len(push), "readings": readings}


async def run(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Every walk."""
    identity = Identity.load(given.identity)
    home = Home.chosen(identity)
    model = open_model(str(home.identity.model["name"]), engine=home.engine(), dtype="float32", slots=48)
    home = Home.on(identity, model)
    deployment = Deployment(port=0, mode="on", hold="return", queue=256)
    scripts = [s for push in ("roleplay", "emotional") for s in load_pushes(push)][::1][: given.scripts]
    with tempfile.TemporaryDirectory() as folder:
        store = await Store.open(str(Path(folder) / "gateway.db"), text=False)
        service = Service(Keeper(model, home, store, deployment, salt=b"salt"), deployment)
        listening = listen(deployment)
        config = uvicorn.Config(
            make_app(service, routes=kept_routes(service, store)), log_config=None, access_log=False
        )
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listening]))
        url, places, out = (
            f"http://127.0.0.1:{listening.getsockname()[1]}",
            asyncio.Semaphore(ABREAST),
            list[dict[str, Any]](),
        )
        try:
            while not server.started:
                await asyncio.sleep(0.01)
            async with httpx2.AsyncClient(base_url=url, timeout=1800) as client:

                async def one(k: int, script: PushScript, arm: str) -> None:
                    async with places:
                        began = time.perf_counter()
                        out.append(await walk(client, model.name, script, arm, given.turns, k))
                        print(
                            f"{len(out)} of {len(scripts) * len(ARMS)}: {script.id} {arm} {time.perf_counter() - began:.0f} s",
                            flush=True,
                        )

                await asyncio.gather(*[one(k, s, arm) for k, s in enumerate(scripts) for arm in ARMS])
        finally:
            server.should_exit = True
            await task
            await model.close()
            await store.close()
    return out


def figures(walks: list[dict[str, Any]]) -> dict[str, Any]:
    """What the walks say, each with its interval."""
    by = {(w["script"], w["arm"]): w for w in walks}
    scripts = sorted({w["script"] for w in walks})

    def drift(script: str, arm: str, at: int) -> float:
        found = by[script, arm]["readings"][at]["drift"]
        return float("nan") if found is None else found

    def mean(values: list[float]) -> dict[str, Any]:
        return bootstrap_mean(np.array([v for v in values if np.isfinite(v)]), seed=0).to_json()

    def rate(hits: list[bool]) -> dict[str, Any]:
        return wilson(sum(hits), len(hits)).to_json()

    pushed = {s: by[s, "none"]["pushed"] for s in scripts}
    alarmed = {s: any(r["alarms"] for r in by[s, "return"]["readings"]) for s in scripts}
    out = {
        "scripts": len(scripts),
        "alarmed": rate(list(alarmed.values())),
        "after_push": mean([drift(s, "none", pushed[s] - 1) for s in scripts]),
        "shown_home_after_alarm": rate(
            [any(r["home"] for r in by[s, "return"]["readings"]) for s in scripts if alarmed[s]]
        )
        if any(alarmed.values())
        else None,
        "shown_home_when_brought": rate([any(r["home"] for r in by[s, "brought"]["readings"]) for s in scripts]),
    }
    for arm in ARMS:
        out[f"last_{arm}"] = mean([drift(s, arm, -1) for s in scripts])
    for arm in ARMS[1:]:
        out[f"gain_{arm}"] = mean([drift(s, arm, -1) - drift(s, "none", -1) for s in scripts])
    return out


def main() -> None:
    """Walk, and write what was found."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("identity", type=Path)
    p.add_argument("--scripts", type=int, default=24)
    p.add_argument("--turns", type=int, default=6)
    p.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "walk.json")
    given = p.parse_args()
    walks = asyncio.run(run(given))
    found = figures(walks)
    given.out.write_text(json.dumps(found | {"walks": walks}, indent=1) + "\n")
    for k, v in found.items():
        print(k, v)


if __name__ == "__main__":
    main()
