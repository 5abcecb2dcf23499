"""The embedded model behind an OpenAI-compatible server against the same file in this process: are findings the same?

Both are asked the same choices of claim 5 (histories without an error and with nothing but errors) with the same letters.
Three readings of a choice: here (the engine scores each letter), by log-probability over the wire, and by sampling over the
wire. Equivalent: the 90% interval of the mean paired difference in the probability of the right total lies within the margin.

    python benchmarks/endpoint.py [--items 6] [--draws 16] [--threads 1] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xllamacpp

from homing.conversation import Conversation
from homing.instruments.base import Cell
from homing.instruments.self_conditioning import DIGITS, SelfConditioning, conversation_of
from homing.models import inspected
from homing.models.account import Account
from homing.models.inspected import LETTERS, InspectModel, lettered
from homing.models.local import LocalModel
from homing.models.requantise import requantised
from homing.models.sources import cache_directory, locate, open_model

MARGINS = {"wire by log-probability less here": 0.02, "wire by sampling less by log-probability": 0.05}
CONDITIONS = ("first", "e0", "e100")


def served(file: Path, threads: int) -> xllamacpp.Server:
    """A server of the file; it samples from the whole distribution, where llama.cpp would cut it (top-k 40, min-p 0.05)."""
    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.n_ctx, params.n_parallel, params.port, params.use_jinja, params.warmup = 8192, 4, 0, True, False
    params.verbosity = -1
    params.hostnames = ["127.0.0.1"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.sampling.top_k, params.sampling.top_p, params.sampling.min_p = 0, 1.0, 0.0
    return xllamacpp.Server(params)


async def here(model: LocalModel, conversation: Conversation, options: Sequence[str]) -> list[float]:
    """Probability of each option, un-normalised, by the letters in both orders, as over the wire."""
    total = np.zeros(len(options))
    orders = [list(range(len(options))), list(reversed(range(len(options))))]
    for order in orders:
        asked = lettered(conversation, [options[i] for i in order])
        (scored,) = await model.score_replies([asked], [[LETTERS[k] for k in range(len(options))]])
        total[order] += [math.exp(float(s.astype("float64").sum())) / len(orders) for s in scored]
    return [float(x) for x in total]


def interval(x: np.ndarray, seed: int = 0) -> dict[str, float]:
    """Mean of paired differences with a 90% bootstrap interval over cells."""
    boots = np.random.default_rng(seed).choice(x, size=(5000, len(x))).mean(axis=1)
    low, high = np.quantile(boots, [0.05, 0.95])
    return {
        "mean": float(x.mean()),
        "low": float(low),
        "high": float(high),
        "largest": float(np.abs(x).max()),
        "n": len(x),
    }


async def asked_there(model: InspectModel, cells: Sequence[Cell], *, drawn: bool) -> list[list[float]]:
    """Probability of each digit, un-normalised, over the wire."""
    model.account = Account()
    model.account.gives_logprobs = not drawn
    out: list[list[float]] = []
    for c in cells:
        found = await model.choose(conversation_of(c.data), DIGITS)
        if found.exact == drawn:
            raise AssertionError(f"asked {'by sampling' if drawn else 'by log-probability'}, and answered otherwise")
        out.append([p * found.mass for p in found.probabilities])
    return out


def updated(cell: Cell, p: Sequence[float]) -> float:
    """Probability of the right local update, as the instrument scores it."""
    record = {"texts": [""], "logprobs": [math.log(max(x, 1e-9)) for x in p], "mass": sum(p), "exact": True}
    return float(SelfConditioning().score(cell, record, hold="none").values["p"])


async def compare(items: int, draws: int, threads: int) -> dict[str, Any]:
    """All three readings of the same cells."""
    cells = [c for c in SelfConditioning().cells(preset="smoke", seed=0, hold="none") if c.condition in CONDITIONS]
    cells = [c for c in cells if int(c.item.split("-")[1]) < items]
    file = requantised(locate("smollm2").path or Path(), "Q8_0", cache_directory())
    readings: dict[str, list[list[float]]] = {}
    seconds: dict[str, float] = {}
    local = open_model("smollm2", threads=threads, slots=16)
    started = time.monotonic()
    readings["here"] = [await here(local, conversation_of(c.data), DIGITS) for c in cells]
    seconds["here"] = time.monotonic() - started
    await local.close()
    server = served(file, threads)
    os.environ |= {"HERE_BASE_URL": f"{server.listening_address}/v1", "HERE_API_KEY": "none"}
    model = inspected.open_provider("openai-api/here/smollm2")
    model.draws = draws
    for name, drawn in (("wire by log-probability", False), ("wire by sampling", True)):
        started = time.monotonic()
        readings[name] = await asked_there(model, cells, drawn=drawn)
        seconds[name] = time.monotonic() - started
    await model.close()
    rows = {k: np.array(v) for k, v in readings.items()}
    share = {k: np.array([updated(c, p) for c, p in zip(cells, v, strict=True)]) for k, v in readings.items()}
    exact, here_, sampled = (share[k] for k in ("wire by log-probability", "here", "wire by sampling"))
    differences = dict(zip(MARGINS, (interval(exact - here_), interval(sampled - exact)), strict=True))
    is_e = {k: np.array([c.condition == k for c in cells]) for k in CONDITIONS}
    return {
        "schema": "homing.endpoint/1",
        "cells": len(cells), "draws": 2 * draws, "threads": threads,
        "seconds": {k: round(v, 1) for k, v in seconds.items()},
        "mass": {k: float(v.sum(axis=1).mean()) for k, v in rows.items()},
        "right": {k: {c: float(v[is_e[c]].mean()) for c in CONDITIONS} for k, v in share.items()},
        "loss_to_errors": {k: float(v[is_e["e0"]].mean() - v[is_e["e100"]].mean()) for k, v in share.items()},
        "differences": {
            k: {**d, "margin": MARGINS[k], "equivalent": -MARGINS[k] < d["low"] and d["high"] < MARGINS[k]}
            for k, d in differences.items()
        },
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=6)
    parser.add_argument("--draws", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found = json.dumps(asyncio.run(compare(given.items, given.draws, given.threads)), indent=1)
    print(found)
    if given.out is not None:
        given.out.write_text(found + "\n")


if __name__ == "__main__":
    main()
