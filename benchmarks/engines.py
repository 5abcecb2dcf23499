"""The same weights on torch and on llama.cpp: does an axis measured on one hold on the other, and does a cap do the same?

    python benchmarks/engines.py [--kinds F32,Q8_0] [--roles 24] [--questions 4] [--out benchmarks/results/engines.json]

The same texts are read by both engines: replies of llama.cpp at home and under role prompts. Torch runs the GGUF dequantised
in float32. In F32 llama.cpp computes with the same numbers; with quantised weights it also rounds what they are multiplied
with to eight bits, so what differs there is that rounding and not the engine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any, get_args

import numpy as np

from homing.conversation import Conversation, Message
from homing.engine.base import Act, Direction, MeanRead, Sampling
from homing.engine.score import ScoreJob
from homing.errors import InputError
from homing.models.base import ReplyRequest
from homing.models.local import LocalModel
from homing.models.requantise import Kind, requantised
from homing.models.sources import cache_directory, locate, open_model
from homing.persona.questions import load_questions
from homing.persona.roles import load_roles
from homing.stats.bootstrap import bootstrap_mean


async def read_means(model: LocalModel, talks: list[Conversation], layers: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Mean residual stream of each last reply, ``(talk, layer, hidden)``."""
    jobs: list[ScoreJob] = []
    for t in talks:
        e = model.encode(t, add_generation_prompt=False)
        r = e.replies[-1]
        jobs.append(
            ScoreJob(e.tokens[: r.start], (e.tokens[r.start : r.stop],), means=(MeanRead(layers),), logprobs=False)
        )
    scored = await model.engine.score_many(jobs)  # type: ignore[attr-defined]
    return np.array([s[0].means[0] for s in scored])


async def logits_of(
    model: LocalModel, prompts: list[tuple[int, ...]], options: tuple[int, ...], acts: tuple[Act, ...]
) -> Any:
    """Log-probabilities of the same next tokens after each prompt, ``(prompt, option)``."""
    jobs = [ScoreJob(p, tuple((o,) for o in options), acts=acts) for p in prompts]
    return np.array([[float(s.logprobs[0]) for s in job] for job in await model.engine.score_many(jobs)])  # type: ignore[attr-defined]


def cosine(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    """Cosine of two vectors."""
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


async def compare(name: str, *, roles: int, questions: int) -> dict[str, Any]:
    """Every figure."""
    llama, torch = open_model(name, engine="llamacpp"), open_model(name, engine="torch")
    try:
        every = tuple(range(llama.info.layers))
        asked = [q.text for q in load_questions()[:questions]]
        prompts = [
            Conversation((Message("system", r.prompts[0]), Message("user", q)))
            for r in load_roles()[:roles]
            for q in asked
        ]
        home = [Conversation.of(q.text) for q in load_questions()[: roles * questions]]
        made = await llama.replies(
            [ReplyRequest(p, Sampling(32, temperature=1.0, seed=k)) for k, p in enumerate([*prompts, *home])]
        )
        talks = [p.then(r.text or "...", "assistant") for p, r in zip([*prompts, *home], made, strict=True)]
        means = {m: await read_means(x, talks, every) for m, x in (("llamacpp", llama), ("torch", torch))}
        n = len(prompts)
        axis = {m: x[n:].mean(0) - x[:n].mean(0) for m, x in means.items()}
        out: dict[str, Any] = {
            "model": name,
            "weights": llama.info.dtype,
            "replies": len(talks),
            "layers": list(every),
            "axis_cosine": [cosine(a, b) for a, b in zip(axis["llamacpp"], axis["torch"], strict=True)],
            "state_relative_error": [
                float(
                    np.linalg.norm(means["llamacpp"][:, k] - means["torch"][:, k])
                    / np.linalg.norm(means["torch"][:, k])
                )
                for k in range(len(every))
            ],
        }
        # a cap on the upper third, strong enough to bite, the same numbers on both
        deep = tuple(range(len(every) * 6 // 10, len(every) * 8 // 10))
        direction = Direction("axis", deep, axis["torch"][list(deep)].astype(np.float32))
        thresholds = tuple(float(np.median(means["torch"][n:, i] @ direction.at(i))) for i in deep)
        cap = (Act("floor", direction.id, deep, thresholds),)
        for m in (llama, torch):
            m.register(direction)
        ids = [llama.encode(p).tokens for p in prompts[:: max(1, n // 32)]]
        options = tuple(int(x) for x in np.random.default_rng(0).choice(llama.info.vocab - 100, 60, replace=False) + 50)
        free = {k: await logits_of(m, ids, options, ()) for k, m in (("llamacpp", llama), ("torch", torch))}
        held = {k: await logits_of(m, ids, options, cap) for k, m in (("llamacpp", llama), ("torch", torch))}
        change = {k: held[k] - free[k] for k in free}
        each = np.array([np.corrcoef(change["llamacpp"][i], change["torch"][i])[0, 1] for i in range(len(ids))])
        out["cap_layers"] = list(deep)
        out["change_correlation"] = bootstrap_mean(each, seed=0).to_json()
        out["change_correlation_all"] = float(np.corrcoef(change["llamacpp"].ravel(), change["torch"].ravel())[0, 1])
        out["change_size"] = {k: float(np.abs(v).mean()) for k, v in change.items()}
        greedy = {
            k: await m.replies([ReplyRequest(c, Sampling(32)) for c in home[:40]])
            for k, m in (("llamacpp", llama), ("torch", torch))
        }
        same = np.array([a.tokens == b.tokens for a, b in zip(greedy["llamacpp"], greedy["torch"], strict=True)], float)
        first = np.array(
            [a.tokens[0] == b.tokens[0] for a, b in zip(greedy["llamacpp"], greedy["torch"], strict=True)], float
        )
        out["greedy_replies_equal"] = bootstrap_mean(same, seed=0).to_json()
        out["greedy_first_token_equal"] = bootstrap_mean(first, seed=0).to_json()
        return out
    finally:
        await llama.close()
        await torch.close()


def main() -> None:
    """Parse, run, print, write."""
    p = argparse.ArgumentParser()
    p.add_argument("model", nargs="?", default="smollm2")
    p.add_argument("--kinds", default="F32,Q8_0", help="the weights are written as these, once each")
    p.add_argument("--roles", type=int, default=24)
    p.add_argument("--questions", type=int, default=4)
    p.add_argument("--out", default=str(Path(__file__).parent / "results" / "engines.json"))
    a = p.parse_args()
    source = locate(a.model)
    if source.kind != "gguf" or source.path is None:
        raise InputError(f"{a.model} is no GGUF file; both engines run those alone")
    runs: dict[str, Any] = {}
    for kind in get_args(Kind):
        if kind in a.kinds.split(","):
            file = requantised(source.path, kind, cache_directory())
            runs[kind] = out = asyncio.run(compare(str(file), roles=a.roles, questions=a.questions)) | {
                "model": a.model
            }
            for k, v in out.items():
                print(k, [round(x, 4) for x in v] if isinstance(v, list) and v and isinstance(v[0], float) else v)
    Path(a.out).write_text(json.dumps({"schema": "homing.benchmark.engines/2", "weights": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
