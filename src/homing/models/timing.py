"""How long one decoding step of a model takes: what ``dtype="auto"`` and ``doctor`` decide and tell by."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeStubs=false
from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

from homing.stats.estimate import Estimate

__all__ = ["median_of", "step_seconds"]

_PROMPT_TOKENS = 32


def median_of(values: Sequence[float], *, unit: str) -> Estimate:
    """The median of repeated timings; smallest and largest cover the true median with 1 - 2^(1-n)."""
    n = len(values)
    return Estimate(
        value=statistics.median(values),
        low=min(values),
        high=max(values),
        level=1 - 2.0 ** (1 - n),
        n=n,
        unit=unit,
        method="median, smallest and largest of repeated runs",
    )


def step_seconds(model: Any, *, rows: int = 1, steps: int = 4, rounds: int = 5) -> Estimate:
    """Seconds of one decoding step of a plain causal language model of transformers, keys and values kept.

    Args:
        model: on one device, unchanged by this. rows: decoded together. steps: of one round. rounds: at least 2.

    Raises:
        RuntimeError: the device cannot compute in the model's dtype.
    """
    import torch

    device = next(model.parameters()).device
    vocab = int(model.config.get_text_config(decoder=True).vocab_size)
    prompt = (torch.arange(_PROMPT_TOKENS, device=device) % vocab).repeat(rows, 1)
    taken: list[float] = []
    with torch.inference_mode():
        for _ in range(rounds + 1):  # the first is a warm-up
            out = model(input_ids=prompt, use_cache=True)
            token = out.logits[:, -1:].argmax(-1)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            start = time.perf_counter()
            for _ in range(steps):
                out = model(input_ids=token, past_key_values=out.past_key_values, use_cache=True)
                token = out.logits[:, -1:].argmax(-1)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            taken.append((time.perf_counter() - start) / steps)
    return median_of(taken[1:], unit="s")
