"""watch: read every assistant turn of given transcripts, and say where the model left home."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from homing.conversation import Conversation, Message
from homing.drift.calibration import TRAFFIC, Calibration
from homing.drift.replay import SAMPLING, Replay, replay_many
from homing.drift.trace import Trace, TurnTrace, alarms_of, position_of
from homing.engine.base import Act, EngineInfo, Sampling
from homing.errors import IdentityError, InputError, TemplateError, TooLong
from homing.hold.cap import Cap
from homing.identity import Identity
from homing.models.base import ChatModel, ReplyRequest
from homing.models.sources import Dtype, EngineName, open_model
from homing.persona.axis import Axis
from homing.persona.scale import Scale
from homing.stats.seeds import stable_seed
from homing.verbs.progress import Progress, Silent
from homing.verbs.transcripts import BadLine, Transcript, read_transcripts

__all__ = ["Home", "cap_of", "watch_conversation", "watch_file"]

ERROR_SCHEMA = "homing.watch-error/1"
LINE_SCHEMA = "homing.watch/1"
LONGEST_FRESH = 256


@dataclass(frozen=True, eq=False)
class Home:
    """An identity opened for use: what reading and holding need, taken from its sections.

    Attributes:
        axis, scale, calibration: of the sections persona and drift; a calibration on a service's own conversations goes before
            that of the map. ``cap``: of the section cap; None where there is none.
        opening: messages before the first user turn at home. ``reply_tokens``: longest reply that was calibrated.
    """

    identity: Identity
    axis: Axis
    scale: Scale
    calibration: Calibration
    cap: Cap | None
    opening: tuple[Message, ...]
    reply_tokens: int

    @classmethod
    def of(cls, identity: Identity) -> Home:
        """Take an identity apart.

        Raises:
            IdentityError: a section is missing or cannot be read.
        """
        persona, drift = identity.section("persona"), identity.section("drift")
        alarms = identity.sections.get(TRAFFIC, drift)
        try:
            axis = Axis.from_json(persona.data["axis"], persona.arrays)
            system = persona.data["home_system"]
            opening = () if system is None else (Message("system", system),)
            opening += tuple(Message(m[0], m[1]) for m in persona.data["home_messages"])
            cap = None
            if "cap" in identity.sections and identity.section("cap").data.get("cap") is not None:
                section = identity.section("cap")
                cap = Cap.from_section(section.data["cap"], section.arrays)
            return cls(
                identity,
                axis,
                Scale.from_json(persona.data["scale"]),
                Calibration.from_json(alarms.data["calibration"]),
                cap,
                opening,
                int(persona.data["sampled"]["sampling"]["max_new_tokens"]),
            )
        except (KeyError, TypeError, IndexError) as e:
            raise IdentityError(f"a section of this identity lacks {e}; map again with this version") from None

    @classmethod
    def load(cls, directory: Path | str) -> Home:
        """Load and take apart."""
        return cls.of(Identity.load(directory))

    def acts(self, model: ChatModel, hold: str | None) -> tuple[Act, ...]:
        """The acts of a hold by name, registered with the model.

        Raises:
            InputError: an unknown hold. IdentityError: this identity has no cap.
        """
        if hold is None or hold == "none":
            return ()
        if hold != "cap":
            raise InputError(f"hold {hold!r} is unknown; use cap or none")
        if self.cap is None:
            raise IdentityError("this identity has no cap; run `homing map` again to tune one")
        return self.cap.register(model)

    async def prove(self, model: ChatModel, hold: str | None) -> None:
        """Prove on the opened model that a hold raises what it should raise; once a model, before anything is held.

        Raises:
            InputError: an unknown hold. IdentityError: this identity has no cap, or its cap does not do that.
        """
        if not self.acts(model, hold) or self.cap is None:
            return
        try:
            await self.cap.self_test(model, self.axis)
        except InputError as e:
            raise IdentityError(f"the cap of this identity is refused: {e}; run `homing map` again to tune one") from e

    @property
    def layers_path(self) -> str | None:
        """Dotted name of the decoder layers, where the user named them for the map."""
        path = self.identity.model.get("layers_path")
        return None if path is None else str(path)

    def layers_of(self, identity: Identity, model: str | None) -> str | None:
        """The same for a model to be opened; of several measurements, only for the one that goes by its name."""
        return self.layers_path if self._named(model) or not identity.also else None

    def _named(self, model: str | None) -> bool:
        """Whether a model to be opened goes by the name of the one that was measured; None does."""
        return model is None or model == self.identity.model.get("name")

    @classmethod
    def chosen(cls, identity: Identity, model: str | None = None, engine: EngineName = "auto") -> Home:
        """The measurement to open a model by: the first of the model and the engine that were asked for, else the first.

        Which one is used in the end is known once the model is open; see :meth:`on`.
        """
        fits = [
            i
            for i in identity.measured
            if (model is None or i.model.get("name") == model) and engine in ("auto", i.model.get("engine"))
        ]
        return cls.of((fits or identity.measured)[0])

    @classmethod
    def on(cls, identity: Identity, model: ChatModel) -> Home:
        """What was measured on the model that is open, else on other weights from the same file.

        Raises:
            IdentityError: neither is in the identity.
        """
        i = model.info
        return cls.of(identity.on(i.fingerprint, origin=i.origin, engine=i.engine, dtype=i.dtype, what=model.name))

    def engine(self, asked: EngineName = "auto", model: str | None = None) -> EngineName:
        """The engine to open a model with: the one asked for, else the one that this identity was made on.

        Args:
            model: name of the model to be opened; None: this identity's own. Another one's engine is its own affair.
        """
        if asked != "auto" or not self._named(model):
            return asked
        return cast("EngineName", self.identity.model.get("engine", "auto"))

    def fresh_opening(self, conversation: Conversation) -> tuple[Message, ...]:
        """What stands before a message asked afresh: home's opening under home's own system prompt, else the given one."""
        if conversation.system == next((m.content for m in self.opening if m.role == "system"), None):
            return self.opening
        return conversation.messages[:1] if conversation.system is not None else ()

    def warnings(
        self, conversation: Conversation, lengths: Sequence[int] = (), *, on: EngineInfo | None = None
    ) -> tuple[str, ...]:
        """Why the alarms' promise does not cover a conversation; empty where it does.

        Args:
            lengths: of the replies that were read, in tokens. on: the engine that read them; None: not compared.
        """
        out: list[str] = []
        mapped = self.identity.model
        if on is not None and "dtype" in mapped and (on.dtype, on.engine) != (mapped["dtype"], mapped.get("engine")):
            out.append(
                f"the weights are in {on.dtype} on {on.engine}, and the alarms were calibrated in {mapped['dtype']} on"
                f" {mapped.get('engine', 'another engine')}; their promise does not cover this"
            )
        home = next((m.content for m in self.opening if m.role == "system"), None)
        if conversation.system != home:
            out.append(
                "the system prompt is not the one the alarms were calibrated under; their promise does not cover this"
            )
        if conversation.turns > self.calibration.max_turns:
            out.append(f"{conversation.turns} turns, but the alarms were calibrated on {self.calibration.max_turns}")
        return (*out, *self.calibration.outside(lengths[: self.calibration.max_turns]))


def _line(home: Home, trace: Trace, t: int, alarms: Sequence[Any], warnings: Sequence[str]) -> dict[str, Any]:
    turn = trace.turns[t]
    drift = turn.drift
    return {
        "schema": LINE_SCHEMA,
        "conversation": trace.conversation,
        "turn": turn.turn + 1,
        "position": _figure(home.scale.position(turn.position)),
        "drift": None if drift is None or not math.isfinite(drift) else _figure(home.scale.drift(drift)),
        "alarms": [
            {"detector": a.detector, "turn": turn.turn + 1, "statistic": a.statistic, "threshold": a.threshold}
            for a in alarms
            if a.turn == t
        ],
        "engaged_tokens": turn.engaged,
        "tokens": turn.tokens,
        "warnings": list(warnings),
    }


def _figure(estimate: Any) -> dict[str, Any]:
    return {k: v for k, v in estimate.to_json().items() if k in ("value", "low", "high", "level", "n")}


def cap_of(identity: Identity) -> Cap | None:
    """The cap of an identity; None where it was not mapped, or no cap was tuned."""
    return Home.of(identity).cap if {"persona", "drift"} <= set(identity.sections) else None


@dataclass(frozen=True, slots=True)
class _Turns:
    """The user's side of a transcript, to be replayed under a hold."""

    id: str
    turns: tuple[str, ...]


async def trace_given(model: ChatModel, home: Home, item: Transcript) -> Trace:
    """Positions of the replies that a transcript has, and drift against fresh replies to the same user messages."""
    for direction in home.axis.directions:
        model.register(direction)
    read = home.axis.read()
    turns = await model.read(item.conversation, reads=(read,))
    messages = item.conversation.messages
    head = home.fresh_opening(item.conversation)
    requests: list[ReplyRequest] = []
    asked: list[int] = []
    for n, turn in enumerate(turns):
        before = [m for m in messages[: turn.message] if m.role == "user"]
        if not before:
            continue
        if turn.turn > 0:
            # the mean of a long reply lies elsewhere than that of its first words, so the fresh one may be as long
            most = max(home.reply_tokens, min(turn.tokens, LONGEST_FRESH))
            s = replace(SAMPLING, max_new_tokens=most, seed=stable_seed("turn", item.id, turn.turn, 0))
            requests.append(ReplyRequest(Conversation((*head, before[-1])), s, (), (read,)))
            asked.append(n)
    made = dict(zip(asked, await model.replies(requests), strict=True)) if requests else {}
    out: list[TurnTrace] = []
    for n, turn in enumerate(turns):
        position, tokens = position_of(turn.readings[0], home.axis)
        fresh = position if turn.turn == 0 else None
        if n in made:
            fresh = position_of(made[n].readings[0], home.axis)[0]
        out.append(TurnTrace(turn.turn, position, len(tokens), fresh, tokens))
    return Trace(item.id, tuple(out))


def _sampling(home: Home) -> Sampling:
    return replace(SAMPLING, max_new_tokens=home.reply_tokens)


async def watch_conversation(
    model: ChatModel, home: Home, item: Transcript, *, hold: str | None = None
) -> tuple[list[dict[str, Any]], Replay | None]:
    """One output line an assistant turn; with a hold, replies are made again on the same user turns."""
    replay: Replay | None = None
    acts = home.acts(model, hold)
    if acts:
        users = tuple(m.content for m in item.conversation if m.role == "user")
        if not users:
            raise InputError("the conversation has no user message to reply to")
        head = home.fresh_opening(item.conversation)
        replays = await replay_many(
            model, [_Turns(item.id, users)], axis=home.axis, home=head, sampling=_sampling(home), acts=acts
        )
        replay, trace = replays[0], replays[0].trace
    else:
        trace = await trace_given(model, home, item)
    alarms = alarms_of(home.calibration, trace)
    warnings = home.warnings(item.conversation, trace.lengths(), on=model.info)
    if not acts and trace.turns and trace.turns[0].turn > 0:
        warnings += (f"longer than the context: the first {trace.turns[0].turn} replies were left out of the reading",)
    return [_line(home, trace, t, alarms, warnings) for t in range(len(trace.turns))], replay


def _error(bad: BadLine) -> dict[str, Any]:
    return {
        "schema": ERROR_SCHEMA,
        "conversation": bad.id,
        "error": {"message": str(bad), "line": bad.line, "file": bad.file},
    }


@contextmanager
def _opened(
    identity: Identity, opener: Callable[[], ChatModel]
) -> Generator[tuple[ChatModel, Home, asyncio.Runner], None, None]:
    runner = asyncio.Runner()
    try:

        async def open_() -> ChatModel:
            return opener()

        chat = runner.run(open_())
        try:
            yield chat, Home.on(identity, chat), runner
        finally:
            # Ctrl-C may come when a task is made and its run has not started: it would be run on a closed model
            for task in asyncio.all_tasks(runner.get_loop()):
                task.cancel()
            runner.run(chat.close())
    finally:
        runner.close()


def watch_file(
    path: Path | str,
    identity_dir: Path | str,
    *,
    model: str | None = None,
    hold: str | None = None,
    engine: EngineName = "auto",
    dtype: Dtype = "float32",
    threads: int | None = None,
    slots: int | None = None,
    layers: str | None = None,
    progress: Progress | None = None,
) -> Generator[dict[str, Any], None, None]:
    """Lines of ``homing watch``: one an assistant turn, and an error object for each line that cannot be read.

    Args:
        path: see :func:`homing.verbs.transcripts.read_transcripts`. ``identity_dir``: of the model's home.
        model: name; default: the one the identity was made on. ``hold``: ``cap``, or None.
        engine: ``auto`` takes the one that the identity was made on.
        dtype: of the weights on torch; ``auto`` is float32, since figures that follow the machine could not be compared.
        threads: of the engine. slots: most rows at once. layers: dotted name of the decoder layers; the identity's own unless
            given.

    Raises:
        HomingError: the path, the identity, its cap or the model cannot be used; errors inside a transcript are lines
            instead.
    """
    shown = progress or Silent()
    identity = Identity.load(identity_dir)
    home = Home.chosen(identity, model, engine)
    items = read_transcripts(path)
    if hold not in (None, "none"):
        caps = any("cap" in i.sections for i in identity.measured)  # which one is used is known once the model is open
        if hold != "cap" or (home.cap is None and not (identity.also and caps)):
            home.acts(cast(ChatModel, None), hold)
    shown.start(total=0, unit="conversations", title=f"watching {path}")
    opener = partial(
        open_model,
        model or str(home.identity.model["name"]),
        engine=home.engine(engine, model),
        dtype="float32" if dtype == "auto" else dtype,
        threads=threads,
        slots=slots,
        layers=layers or home.layers_of(identity, model),
    )
    with _opened(identity, opener) as (chat, home, runner):
        runner.run(home.prove(chat, hold))
        for item in items:
            if isinstance(item, BadLine):
                yield _error(item)
                continue
            try:
                lines, _ = runner.run(watch_conversation(chat, home, item, hold=hold))
            except (InputError, TemplateError, TooLong) as e:  # of this conversation alone
                yield _error(BadLine(item.id, item.file, item.line, str(e)))
                continue
            shown.advance(1)
            yield from lines
