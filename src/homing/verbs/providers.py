"""Models that Inspect reaches: which names are theirs, and a plan carried out with its retries, logs and resume."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import asyncio
import importlib.util
import re
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from homing.errors import Interrupted, MissingExtra, ModelError
from homing.instruments.base import Instrument, PresetName, Scored
from homing.models import inspected
from homing.models.account import Account
from homing.models.base import ChatModel
from homing.models.sources import EngineName, open_model
from homing.models.trouble import plain

__all__ = ["PROVIDERS", "Answered", "is_provider", "open_any", "through_inspect"]

PROVIDERS = frozenset(
    {
        "anthropic", "azureai", "bedrock", "cf", "fireworks", "google", "goodfire", "grok", "groq", "hf-inference-providers",
        "llama-cpp-python", "mistral", "mockllm", "ollama", "openai", "openai-api", "openrouter", "perplexity", "sagemaker",
        "sambanova", "sglang", "together", "vertex", "vllm",
    }
)  # fmt: skip
"""First parts of a model's name that Inspect knows; a hub id with one of these as its owner needs a directory."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What a provider answered.

    Attributes:
        scored: by instrument. ``states``: how many answers were none, by instrument and then by why.
    """

    scored: dict[str, list[Scored]]
    states: dict[str, Counter[str]]


def is_provider(model: str) -> bool:
    """Whether a model is named as Inspect names those of providers, such as ``openai/gpt-4o``."""
    head, _, rest = model.partition("/")
    return bool(rest) and head in PROVIDERS


def through_inspect(
    model: str,
    instruments: Mapping[str, Instrument],
    *,
    holds: Mapping[str, Sequence[str]],
    preset: PresetName,
    seed: int,
    logs: Path,
    anchor: str | None = None,
) -> Answered:
    """Scores by instrument, from one Inspect task an instrument and hold; what is answered is not asked again.

    Args:
        holds: by the names under which ``instruments`` are given. ``anchor``: another model, local or of a provider.

    Raises:
        MissingExtra: Inspect is not installed. ModelError: the model cannot be opened, or does not answer.
        Interrupted: Ctrl-C; what is answered is kept.
    """
    _need_inspect(model)
    from inspect_ai import eval_set
    from inspect_ai.log import read_eval_log

    from homing.instruments.inspect_tasks import instrument_task, scored_of, states_of

    account = Account(logs.parent / "paid.jsonl")
    pairs = [(i, h) for n, i in instruments.items() for h in holds[n]]
    beside = None if anchor is None else _beside(anchor, account)
    tasks = [instrument_task(i, preset=preset, seed=seed, hold=h, account=account, anchor=beside) for i, h in pairs]
    go_on = f"what is answered is kept in {logs.parent}: run the same command to go on"
    with _opening(model):
        # calls are tried again by Inspect; a task is not, for what broke it would break it again
        done, headers = eval_set(
            tasks, str(logs), model=inspected.get_provider(model), display="none", retry_attempts=0, retry_immediate=False,
        )  # fmt: skip
    if account.trouble:
        raise ModelError(f"{account.trouble}; {go_on}")
    out = Answered({name: [] for name in instruments}, {name: Counter() for name in instruments})
    for header in headers:
        if header.status == "cancelled":
            raise Interrupted(f"stopped; {go_on}")
        if header.status != "success":
            why = plain(header.error.message) if header.error is not None else header.status
            raise ModelError(f"{header.eval.task} on {model} did not end well ({why}); {go_on}")
        log = read_eval_log(header.location)
        name = str((log.eval.metadata or {})["instrument"])
        out.scored[name] += scored_of(log)
        out.states[name].update(states_of(log))
    if not done:
        raise ModelError(f"not every task on {model} was done; {go_on}")
    account.close()
    if beside is not None and not is_provider(beside.name):
        asyncio.run(beside.close())
    return out


def _beside(name: str, account: Account) -> ChatModel:
    """An anchor: a local model, or one of a provider, whose answers are kept with the others."""
    if not is_provider(name):
        return open_model(name)
    with _opening(name):
        return cast("ChatModel", inspected.open_provider(name, account=account))


def open_any(
    name: str, *, out: Path, engine: EngineName = "auto", threads: int | None = None, slots: int | None = None
) -> ChatModel:
    """A local model, or one of a provider, whose answers are kept in ``out``.

    Raises:
        MissingExtra: what runs or reaches it is not installed. ModelError: it cannot be opened.
        InputError: as :func:`homing.models.sources.open_model`.
    """
    if not is_provider(name):
        return open_model(name, engine=engine, threads=threads, slots=slots)
    _need_inspect(name)
    with _opening(name):
        return cast("ChatModel", inspected.open_provider(name, account=Account(out / "paid.jsonl")))


def _need_inspect(model: str) -> None:
    if importlib.util.find_spec("inspect_ai") is None:
        raise MissingExtra(f"what reaches {model}", "pip install 'homing[inspect]'")


@contextmanager
def _opening(model: str) -> Generator[None]:
    """What Inspect says when it cannot open a model, in one sentence."""
    from inspect_ai._util.error import PrerequisiteError

    try:
        yield
    except (PrerequisiteError, ImportError, ValueError) as e:
        said = plain(getattr(e, "message", None) or e)
        install = re.search(r"pip install (?:--upgrade )?\S+", said)
        if install is not None:
            raise MissingExtra(f"what reaches {model}", install[0]) from None
        raise ModelError(f"{model} cannot be opened by Inspect: {said.removeprefix('ERROR: ')}") from None
