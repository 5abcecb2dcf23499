"""Models that Inspect reaches: which names are theirs, and a plan carried out with its retries, logs and resume."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from homing.errors import MissingExtra, ModelError
from homing.instruments.base import Instrument, PresetName, Scored

__all__ = ["PROVIDERS", "is_provider", "through_inspect"]

PROVIDERS = frozenset(
    {
        "anthropic", "azureai", "bedrock", "cf", "fireworks", "google", "goodfire", "grok", "groq", "hf-inference-providers",
        "llama-cpp-python", "mistral", "mockllm", "ollama", "openai", "openai-api", "openrouter", "perplexity", "sagemaker",
        "sambanova", "sglang", "together", "vertex", "vllm",
    }
)  # fmt: skip
"""First parts of a model's name that Inspect knows; a hub id with one of these as its owner needs a directory."""
ATTEMPTS = 3
_LOG = logging.getLogger("homing.verbs")


def is_provider(model: str) -> bool:
    """Whether a model is named as Inspect names those of providers, such as ``openai/gpt-4o``."""
    head, _, rest = model.partition("/")
    return bool(rest) and head in PROVIDERS


def through_inspect(
    model: str,
    instruments: Mapping[str, Instrument],
    *,
    holds: Sequence[str],
    preset: PresetName,
    seed: int,
    logs: Path,
) -> dict[str, list[Scored]]:
    """Scores by instrument, from one Inspect task an instrument and hold; finished samples in ``logs`` are not asked again.

    Raises:
        MissingExtra: Inspect is not installed. ModelError: the model cannot be opened, or a task did not end well.
    """
    if importlib.util.find_spec("inspect_ai") is None:
        raise MissingExtra(f"what reaches {model}", "pip install 'homing[inspect]'")
    from inspect_ai import eval_set
    from inspect_ai._util.error import PrerequisiteError
    from inspect_ai.log import read_eval_log

    from homing.instruments.inspect_tasks import instrument_task, scored_of

    tasks = [instrument_task(i, preset=preset, seed=seed, hold=h) for i in instruments.values() for h in holds]
    try:
        done, headers = eval_set(tasks, str(logs), model=model, retry_attempts=ATTEMPTS, display="none")
    except (PrerequisiteError, ImportError, ValueError) as e:
        raise ModelError(f"{model} cannot be opened by Inspect: {_first_line(e)}") from None
    out: dict[str, list[Scored]] = {name: [] for name in instruments}
    for header in headers:
        if header.status != "success":
            why = header.error.message if header.error is not None else header.status
            raise ModelError(
                f"{header.eval.task} on {model} did not end well ({_first_line(why)}); what is answered is kept in {logs}:"
                " run the same command to go on"
            )
        log = read_eval_log(header.location)
        out[str((log.eval.metadata or {})["instrument"])] += scored_of(log)
    if not done:
        raise ModelError(
            f"not every task on {model} was done; what is answered is kept in {logs}: run the same command again"
        )
    return out


def _first_line(e: object) -> str:
    return str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__
