"""One turn of a kept conversation: what is held, what is read, when an alarm fires, and what stays for the next turn.

The reading of a turn is always of what was said and never of a pass under an act: a floor raises its own reading. Drift is the
position of the reply less that of a reply to the same message asked afresh, and the fresh one is made in the same batch.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, cast
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from homing.conversation import Conversation, Message
from homing.drift.trace import position_of
from homing.errors import HomingError, InputError
from homing.gateway.asked import Asked, Chosen, Report, Run
from homing.gateway.asking import Outside, settled
from homing.gateway.deployment import Deployment, conditional
from homing.gateway.problems import WireError
from homing.gateway.records import Committed, Standing, TurnRecord
from homing.gateway.remembered import Remembered
from homing.gateway.settling import settle
from homing.hold.base import HISTORY, Next, Stabiliser, Turn, last
from homing.hold.chain import around, build, traits
from homing.models.base import ChatModel, Done, Event, Intervention, Reply, Token
from homing.models.local import LocalModel
from homing.stats.seeds import stable_seed
from homing.verbs.watch import LONGEST_FRESH, Home

__all__ = ["Keeper", "Store", "finite"]

F32 = NDArray[np.float32]
_LOG = logging.getLogger("homing.gateway")
NOTHING = Conversation()


class Store(Protocol):
    """What this module needs of a store; see :mod:`homing.gateway.store`."""

    async def standing(self, tenant: str, conversation: str) -> Standing | None: ...
    async def find(self, tenant: str, digest: str) -> str | None: ...
    async def commit(
        self, tenant: str, conversation: str, turn: TurnRecord, settle: Any, *, new: bool = False
    ) -> Committed: ...
    async def amend(self, tenant: str, conversation: str, change: Any) -> Committed | None: ...


class Keeper:
    """Keeps conversations of one model.

    Args:
        model: that replies. ``home``: its own, measured on these weights; None: nothing is read or capped.
        store: where turns are kept. ``deployment``: what the operator decided. ``salt``: of digests of what clients have.
        outside: what is asked of a conversation in forks; None: nothing.
    """

    def __init__(
        self,
        model: ChatModel,
        home: Home | None,
        store: Store,
        deployment: Deployment,
        *,
        salt: bytes,
        outside: Outside | None = None,
    ) -> None:
        self.outside = outside
        self._asking: set[asyncio.Task[None]] = set()
        self.model, self.home, self.store, self.deployment = model, home, store, deployment
        self._salt = salt
        self.kept: Callable[[Committed], None] = lambda kept: None
        self._keeping: set[asyncio.Task[Committed]] = set()
        self._held: Remembered[tuple[str, Conversation]] = Remembered()
        self._left: Remembered[dict[str, Any]] = Remembered()
        if home is not None:
            for direction in home.axis.directions:
                model.register(direction)

    def build(self, names: str, conversation: Conversation = NOTHING) -> tuple[Stabiliser, ...]:
        """A chain by name, of what the identity has; holds that begin again do so under the conversation's own system prompt.

        Raises:
            InputError: it is unknown, or needs what there is not.
        """
        cap = self.home.cap if self.home is not None else None
        own = conversation.messages[:1] if conversation.system is not None else ()
        opening = self.home.fresh_opening(conversation) if self.home is not None else own
        chain = build(names, cap=cap, opening=opening)
        for s in chain:
            missing = s.needs - self.model.capabilities
            if missing:
                raise InputError(
                    f"hold {s.name!r} needs {', '.join(sorted(missing))}, which {self.model.name} cannot do"
                )
        return chain

    def built(self, names: str, param: str) -> tuple[Stabiliser, ...]:
        """The same of a chain that a client names in a field.

        Raises:
            WireError: 400, with that field.
        """
        try:
            return self.build(names)
        except InputError as e:
            raise WireError(400, f"{param}: {e}", param=param) from None

    def digest(self, conversation: Conversation) -> str:
        """What a client has, as a salted digest; text cannot be guessed from it without the salt."""
        plain = [[m.role, m.content] for m in conversation]
        return hmac.new(self._salt, json.dumps(plain, ensure_ascii=False).encode(), hashlib.sha256).hexdigest()

    async def turn(self, asked: Asked) -> AsyncGenerator[Event | Report, None]:
        """The events of a reply as they come, then what it says of itself, once the turn is kept.

        Raises:
            WireError, HomingError: the request cannot be met; before the first token wherever that can be known.
        """
        run = await self.begin(asked)
        if not asked.conversation.messages or asked.conversation.messages[-1].role != "user":
            raise WireError(400, "messages: the last one must be the user's", param="messages")
        fresh = self._start_fresh(run)
        try:
            reply: Reply | None = None
            async with aclosing(self._events(run)) as events:
                async for event in events:
                    if isinstance(event, Done):
                        reply = event.reply
                    yield event
            if reply is None:
                raise WireError(502, "the model ended without a reply", code="model_error")
            yield await self.end(run, reply, fresh)
        finally:
            if fresh is not None:
                fresh.cancel()

    # -- before the reply ------------------------------------------------------------------------------------------------

    async def begin(self, asked: Asked) -> Run:
        """What is known of a turn before its reply: its conversation, and what holds it.

        Raises:
            WireError: a hold that is unknown, or that this model cannot do.
        """
        mode = self.deployment.mode
        if asked.shadow and mode == "on":
            mode = "shadow"
        past = Conversation(asked.conversation.messages[:-1])
        digest = self.digest(past)
        id = asked.conversation_id
        if id is None and any(m.role == "assistant" for m in past):
            id = await self.store.find(asked.tenant, digest)
        found = None if id is None else await self.store.standing(asked.tenant, id)
        id = id or f"conv-{uuid4().hex}"
        standing = found or Standing(id, asked.tenant)
        chosen = self._choose(asked, standing, mode)
        held = self._held.get((asked.tenant, id))
        shown = asked.conversation
        if held is not None and held[0] == digest:
            shown = Conversation((*held[1].messages, asked.conversation.messages[-1]))
        return Run(asked, mode, id, standing, chosen, shown)

    def _choose(self, asked: Asked, standing: Standing, mode: str) -> Chosen:
        """An operator's choice for a conversation goes before the client's, and that before the deployment's."""
        if standing.hold is not None:
            names, by = standing.hold, "operator"
        elif asked.hold is not None:
            names, by = asked.hold, "request"
        else:
            names, by = self.deployment.hold, "deployment"
        if asked.hold is not None:
            self.built(asked.hold, "homing.hold")
        way = standing.state.get("way")
        if way is not None and way.get("by") == "operator" and not conditional(names):
            names, by = "return", "operator"
        chosen = Chosen(names, by)
        if mode == "on" and (not conditional(names) or way is not None):
            chosen.chain = self.build(names, asked.conversation)
        return chosen

    def _start_fresh(self, run: Run) -> asyncio.Task[F32] | None:
        """A reply to the same message asked afresh, under way; None where this turn needs none."""
        home, every = self.home, self.deployment.read_every
        if home is None or run.mode == "off" or not every or not run.asked.keep:
            return None
        before = run.shown.turns
        if before % every:
            return None
        if before == 0 and not run.chosen.chain:
            return None  # the first turn is its own fresh context
        fresh = asyncio.create_task(self._fresh(run, home))
        fresh.add_done_callback(_heard)
        return fresh

    async def _fresh(self, run: Run, home: Home) -> F32:
        most = max(home.reply_tokens, min(run.asked.sampling.max_new_tokens, LONGEST_FRESH))
        seed = stable_seed("fresh", run.asked.sampling.seed)
        sampling = replace(run.asked.sampling, max_new_tokens=most, seed=seed, top_logprobs=0)
        alone = Conversation((*home.fresh_opening(run.shown), run.shown.messages[-1]))
        reply = await self.model.reply(alone, sampling=sampling, reads=(home.axis.read(),))
        return reply.readings[0]

    # -- the reply -------------------------------------------------------------------------------------------------------

    async def _events(self, run: Run) -> AsyncGenerator[Event, None]:
        """Events under the chain; where it fails before the first token and the deployment fails open, without it."""
        said = False
        try:
            async with aclosing(self._held_events(run, run.chosen.chain)) as events:
                async for event in events:
                    said = said or isinstance(event, Token)
                    yield event
            return
        except HomingError as e:
            if said or not run.chosen.chain or self.deployment.fail == "closed":
                raise
            _LOG.warning("hold %s failed and the reply went without it: %s", run.chosen.names, type(e).__name__)
            run.warnings.append(f"hold {run.chosen.names} failed, and this reply went without it: {e}")
        run.chosen.chain = ()
        async with aclosing(self._held_events(run, ())) as events:
            async for event in events:
                yield event

    async def _held_events(self, run: Run, chain: Sequence[Stabiliser]) -> AsyncGenerator[Event, None]:
        reads = () if self.home is None or run.mode == "off" or not run.asked.keep else (self.home.axis.read(),)
        kept = cast("Mapping[str, Any]", run.standing.state.get("holds", {}))
        state = {**kept, **(self._left.get((run.asked.tenant, run.id)) or {})}
        if run.shown is run.asked.conversation:
            # what a hold of the past remembers of a text that is gone would keep it from doing its work again
            for name, traits_ in zip(run.chosen.names.split("+"), traits(run.chosen.names), strict=False):
                if "lasting" in traits_:
                    state.pop(name, None)
        turn = Turn(run.shown, run.asked.sampling, reads=reads, state=state)
        # most conversations have one turn; and on llama.cpp each that is kept slows all others
        again = run.standing.turns > 0 and self.model.info.engine == "torch"
        inner = self._innermost(f"{run.asked.tenant}/{run.id}" if again else "")

        def said(step: Turn) -> AsyncIterator[Event]:
            run.shown, run.acts = step.conversation, step.acts
            return inner(step)

        stream = cast("AsyncGenerator[Event, None]", around(self.model, chain, said)(turn))
        async with aclosing(stream) as events:
            async for event in events:
                if isinstance(event, Intervention):
                    self._note(run, event)
                elif isinstance(event, Done):
                    run.engine_seconds = event.reply.seconds
                yield event

    def _innermost(self, keep: str) -> Next:
        """The model itself; one that is here goes on from what it kept of this very conversation."""
        model = self.model
        if not keep or not isinstance(model, LocalModel):
            return last(model)

        def reply(turn: Turn) -> AsyncIterator[Event]:
            return model.stream(
                turn.conversation, sampling=turn.sampling, acts=turn.acts, reads=turn.reads, means=turn.means, keep=keep
            )

        return reply

    def _note(self, run: Run, event: Intervention) -> None:
        if event.state:
            left = dict(event.state)
            history = left.pop(HISTORY, None)
            if history is not None:
                run.rewritten = Conversation.from_openai(cast("list[dict[str, Any]]", history))
            if left:
                run.left[event.hold] = left
        elif event.amount:
            run.moved.add(event.index)
            return
        if event.state or event.note:
            run.done.append({"hold": event.hold, "note": event.note, "amount": event.amount})

    # -- after the reply -------------------------------------------------------------------------------------------------

    async def end(self, run: Run, reply: Reply, fresh: asyncio.Task[F32] | None = None) -> Report:
        """Read and keep a turn whose reply is there.

        Raises:
            WireError: reading or keeping failed, and the deployment fails closed.
        """
        asked, home = run.asked, self.home
        position = drift = again = None
        trace: tuple[float, ...] = ()
        try:
            if home is not None and run.mode != "off" and asked.keep:
                position, trace = position_of(await self._unacted(run, reply, home), home.axis)
                if fresh is not None:
                    again = position_of((await fresh)[: max(home.reply_tokens, len(trace))], home.axis)[0]
                elif run.shown.turns == 0 and self.deployment.read_every:
                    again = position
                drift = None if again is None else position - again
        except HomingError as e:
            self._failed(run, "the reading", e)
        after = asked.conversation.then(reply.text, "assistant")
        record = TurnRecord(
            request_id=asked.request_id,
            created=time.time(),
            model=asked.model,
            hold=run.chosen.names,
            mode=run.mode,
            prompt_tokens=reply.prompt_tokens,
            new_tokens=reply.new_tokens,
            finish=reply.finish,
            seconds=time.perf_counter() - asked.received,
            added_seconds=max(0.0, time.perf_counter() - asked.received - run.engine_seconds),
            position=finite(position),
            drift=finite(drift),
            fresh=finite(again),
            trace=tuple(round(x, 4) for x in trace),
            capped=len(run.moved),
            interventions=tuple(d if self.deployment.text else {**d, "note": ""} for d in run.done),
            messages=self._messages(run, reply) if self.deployment.text else None,
            pieces=self._pieces(reply, len(trace)) if self.deployment.text else None,
        )
        base = Report(
            run.id, 0, run.mode, run.chosen.names, run.chosen.by, bool(run.chosen.chain), record.position, record.drift,
            capped=record.capped, tokens=reply.new_tokens, did=tuple(run.done), added_seconds=record.added_seconds,
            kept=False,
        )  # fmt: skip
        if not asked.keep or run.mode == "off":
            return replace(base, warnings=tuple(run.warnings))
        try:
            kept = await self._keep(run, record, after, reply)
        except HomingError as e:
            self._failed(run, "keeping the turn", e)
            return replace(base, warnings=tuple(run.warnings))
        state = kept.standing.state
        if home is not None:
            run.warnings.extend(home.warnings(after, (len(trace),), on=self.model.info))
        return replace(
            base,
            turn=kept.turn + 1,
            alarms=kept.alarms,
            alarmed=bool(state.get("over")),
            returning=state.get("way") is not None,
            home=any(e.kind == "home" for e in kept.events),
            kept=True,
            warnings=tuple(run.warnings),
        )

    async def _keep(self, run: Run, record: TurnRecord, after: Conversation, reply: Reply) -> Committed:
        """Keep a turn and tell of it. What is begun goes on where the client leaves: an alarm that is kept is told as well."""
        task = asyncio.create_task(self._kept(run, record, after, reply))
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)
        task.add_done_callback(_heard)
        return await asyncio.shield(task)

    async def _kept(self, run: Run, record: TurnRecord, after: Conversation, reply: Reply) -> Committed:
        calibration = self.home.calibration if self.home is not None else None
        change = partial(settle, calibration, run, record, self.digest(after), self.deployment.text)
        kept = await self.store.commit(run.asked.tenant, run.id, record, change, new=not run.standing.turns)
        self.kept(kept)
        self._remember(run, after, reply)
        every, most = self.deployment.ask_every, self.model.info.slots
        # no client waits for an asking, so nothing else keeps their number down; a later turn asks again
        if self.outside is not None and every and kept.turn % every == 0 and len(self._asking) < most:
            task = asyncio.create_task(
                self._ask(run, self.outside, kept.turn, run.shown.then(reply.text or "...", "assistant"))
            )
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
        return kept

    def _failed(self, run: Run, what: str, e: HomingError) -> None:
        """Heed the deployment's rule of failure.

        Raises:
            WireError: it fails closed.
        """
        _LOG.warning("%s failed: %s", what, type(e).__name__)
        if self.deployment.fail == "closed":
            raise WireError(503, f"{what} failed, and this service fails closed: {e}", code="not_kept") from e
        run.warnings.append(f"{what} failed: {e}")

    async def _unacted(self, run: Run, reply: Reply, home: Home) -> F32:
        """Readings of what was said without any act: its own, or where one was in force those of a pass of their own."""
        return await self.again(run.shown, reply, home) if run.acts else reply.readings[0]

    async def again(self, shown: Conversation, reply: Reply, home: Home) -> F32:
        """Readings of a reply that was said, in a pass of their own."""
        turns = await self.model.read(shown.then(reply.text or "...", "assistant"), reads=(home.axis.read(),))
        return turns[-1].readings[0] if turns else np.zeros((0, 1), np.float32)

    def _messages(self, run: Run, reply: Reply) -> tuple[Mapping[str, Any], ...]:
        new: list[Message] = [*run.asked.conversation.messages[-1:], Message("assistant", reply.text)]
        if run.standing.turns == 0:
            new = [*run.asked.conversation.messages, new[-1]]
        return tuple({"role": m.role, "content": m.content} for m in new)

    def _pieces(self, reply: Reply, tokens: int) -> tuple[str, ...] | None:
        """The reply cut into the tokens that were read; None where it cannot be cut so."""
        pieces = self.model.pieces(reply.text)
        return pieces if len(pieces) == tokens else None

    def _remember(self, run: Run, after: Conversation, reply: Reply) -> None:
        """What the model was shown in place of what the client has, for the next turn; forgotten where they are the same."""
        key = (run.asked.tenant, run.id)
        if run.left and not self.deployment.text:
            left = {**(self._left.get(key) or {}), **run.left}
            self._left.put(key, left, len(json.dumps(left)))
        base = run.rewritten or (run.shown if run.shown is not run.asked.conversation else None)
        self._held.forget(key)
        if base is None or base == run.asked.conversation:
            return
        shown = base.then(reply.text or "...", "assistant")
        self._held.put(key, (self.digest(after), shown), sum(len(m.content) for m in shown))

    async def _ask(self, run: Run, outside: Outside, turn: int, conversation: Conversation) -> None:
        """Ask in forks how far a conversation stands from home, and keep what was found."""
        try:
            found = await outside.ask(conversation)
            change = partial(
                settled, found=found, turn=turn, margin=self.deployment.ask_margin, hold=run.chosen.names, mode=run.mode,
                acted=bool(run.chosen.chain), calls=outside.calls,
            )  # fmt: skip
            kept = await self.store.amend(run.asked.tenant, run.id, change)
        except HomingError as e:
            _LOG.warning("a conversation could not be asked for its distance: %s", type(e).__name__)
            return
        if kept is not None:  # else it was forgotten meanwhile
            self.kept(kept)

    async def close(self) -> None:
        """Let what is being kept end, give up what is being asked, and close the model."""
        await asyncio.gather(*self._keeping, return_exceptions=True)
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)
        await self.model.close()

    def forget(self, tenant: str, conversation: str) -> None:
        """Forget what is remembered of a conversation."""
        self._held.forget((tenant, conversation))
        self._left.forget((tenant, conversation))


def _heard(task: asyncio.Task[Any]) -> None:
    """Whoever waited for it may be gone, and its failure with them."""
    if not task.cancelled():
        task.exception()


def finite(value: float | None) -> float | None:
    """A number that JSON has; None for any other."""
    return value if value is not None and math.isfinite(value) else None
