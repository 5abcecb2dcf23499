"""The Python API: open, wrap, Identity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homing.conversation import Conversation
from homing.engine.base import Act, MeanRead, Read, Sampling
from homing.errors import InputError
from homing.hold.base import Stabiliser, Turn
from homing.hold.chain import held
from homing.identity import container
from homing.models import sync
from homing.models.base import ChatModel, Event
from homing.models.sources import Dtype, EngineName
from homing.verbs.map import map_model
from homing.verbs.plan import JudgeName, plan_map
from homing.verbs.progress import Progress, Silent
from homing.verbs.transcripts import Transcript
from homing.verbs.watch import Home, watch_conversation

__all__ = ["Identity", "Model", "open", "wrap"]


class Model(sync.Model):
    """A model to talk to, with holds."""

    def __init__(self, aio: ChatModel) -> None:
        super().__init__(aio)
        self._proved: set[tuple[str, tuple[Act, ...]]] = set()

    def prove(self, home: Home, hold: str | None) -> None:
        """Prove on this model that a hold of an identity raises what it should raise; the same hold is tried once.

        Raises:
            InputError: an unknown hold. IdentityError: the identity has no cap, or its cap does not do that.
        """
        acts = home.acts(self.aio, hold)
        key = (home.axis.direction.id, acts)
        if acts and key not in self._proved:
            self.run(home.prove(self.aio, hold))
            self._proved.add(key)

    def stream(
        self,
        conversation: Conversation,
        *,
        sampling: Sampling = Sampling(),
        acts: Sequence[Act] = (),
        reads: Sequence[Read] = (),
        means: Sequence[MeanRead] = (),
        hold: Sequence[Stabiliser] = (),
    ) -> Iterator[Event]:
        """Events as they come, under ``hold``, the first outermost; closing the iterator cancels the reply."""
        turn = Turn(conversation, sampling, tuple(acts), tuple(reads), tuple(means))
        return self.events(held(self.aio, turn, hold))


def open(
    name: str = "smollm2",
    *,
    engine: EngineName = "auto",
    dtype: Dtype = "float32",
    threads: int | None = None,
    slots: int | None = None,
    layers: str | None = None,
    device: str | None = None,
) -> Model:
    """Open a model by name: ``smollm2`` (embedded), a local directory, a GGUF file, or a hub id.

    ``engine``, ``dtype`` and ``device`` (such as ``cuda``): see :func:`homing.models.sources.open_model`.

    Use it as a context manager, or call ``close``; its ``aio`` is the same with coroutines.

    Raises:
        ModelError: it cannot be found, read or trusted; the message says what to do.
    """
    return Model.open(name, engine=engine, dtype=dtype, threads=threads, slots=slots, layers=layers, device=device)


def wrap(hf_model: Any, tokenizer: Any, *, slots: int | None = None, layers: str | None = None) -> Model:
    """Talk to a transformers model that is already loaded: the object itself, no copy, bit-equal again after ``close``."""
    return Model.wrap(hf_model, tokenizer, slots=slots, layers=layers)


@dataclass(frozen=True, eq=False)
class Identity(container.Identity):
    """Who a model is at home, with what it takes to use it."""

    @classmethod
    def build(
        cls,
        model: Model,
        *,
        out: Path | str,
        preset: str = "standard",
        home: Path | str | None = None,
        seed: int = 0,
        precision: float | None = None,
        judge: JudgeName | str = "auto",
        judge_model: str = "",
        roles: Path | str | None = None,
        progress: Progress | None = None,
    ) -> Identity:
        """Map a model and write its identity to ``out``; finished work there is gone on with.

        Args:
            model: on torch in float32, or a GGUF as it is. ``home``: a file that says what home is; None: the plain Assistant.
            precision: stop at this half width of the axis' split-half cosine; None: all rounds are sampled.
            judge: ``auto`` runs the likelihood judge where the preset has it; an address asks ``judge_model`` behind an
                OpenAI-compatible endpoint, with the key in ``HOMING_JUDGE_KEY``.
            roles: a folder of role files, used beside the built-in ones.

        Raises:
            InputError: the model is a half on torch, or what was given cannot be used.
        """
        info = model.aio.info
        if info.engine == "torch" and info.dtype != "float32":
            raise InputError(
                f"{model.name} is open in {info.dtype}, and maps are made in float32 alone, so that they repeat; open it with"
                " dtype='float32'"
            )
        plan = plan_map(
            model.name,
            preset=preset,
            home=None if home is None else Path(home),
            seed=seed,
            out=Path(out),
            precision=precision,
            judge=judge,
            judge_model=judge_model,
            roles=None if roles is None else Path(roles),
        )
        made = model.run(map_model(model.aio, plan, progress=progress or Silent()))
        return cls(made.model, made.sections, made.volatile, made.also)

    def watch(
        self, conversation: Conversation, *, model: Model | None = None, hold: Sequence[str] = ()
    ) -> list[dict[str, Any]]:
        """Position, drift and alarms of every assistant turn; with ``hold``, of replies made again under it.

        Args:
            model: an open model; None opens the one this identity was made on, and closes it.
            hold: at most ``("cap",)``.

        Returns:
            One object a turn, as ``homing watch --json`` prints them.
        """
        if len(hold) > 1:
            raise InputError(f"watch takes one hold, got {', '.join(hold)}")
        held_by = hold[0] if hold else None
        if model is None:
            home = Home.of(self)
            with open(str(self.model["name"]), engine=home.engine(), layers=home.layers_path) as opened:
                return self.watch(conversation, model=opened, hold=hold)
        home = Home.on(self, model.aio)
        model.prove(home, held_by)
        item = Transcript("conversation", conversation, "", 1)
        lines, _ = model.run(watch_conversation(model.aio, home, item, hold=held_by))
        return lines
