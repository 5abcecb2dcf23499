"""The blocking face of a ChatModel: one event loop on one background thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from homing.conversation import Conversation
from homing.engine.base import Act, MeanRead, Read, Sampling
from homing.models.base import ChatModel, Choice, Event, Reply, TurnRead

if TYPE_CHECKING:
    from homing.models.sources import Dtype, EngineName

__all__ = ["Model"]

T = TypeVar("T")


class Model:
    """A model to talk to without ``await``. ``aio`` is the same model for code that has an event loop of its own.

    Args:
        aio: the asynchronous model. Everything it does runs on this object's background loop.
    """

    def __init__(self, aio: ChatModel) -> None:
        self.aio = aio
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="homing-model", daemon=True)
        self._thread.start()
        self._closed = False

    @classmethod
    def open(
        cls,
        name: str,
        *,
        engine: EngineName = "auto",
        dtype: Dtype = "float32",
        threads: int | None = None,
        slots: int | None = None,
        layers: str | None = None,
        device: str | None = None,
    ) -> Self:
        """Open by name; see :func:`homing.open`."""
        from homing.models.sources import open_model

        return cls(
            open_model(name, engine=engine, dtype=dtype, threads=threads, slots=slots, layers=layers, device=device)
        )

    @classmethod
    def wrap(cls, hf_model: Any, tokenizer: Any, *, slots: int | None = None, layers: str | None = None) -> Self:
        """Wrap a loaded model; see :func:`homing.wrap`."""
        from homing.models.sources import wrap

        return cls(wrap(hf_model, tokenizer, slots=slots, layers=layers))

    @property
    def name(self) -> str:
        """As the user gave it."""
        return self.aio.name

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the background loop and wait for it; Ctrl-C cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise

    def reply(
        self,
        conversation: Conversation,
        *,
        sampling: Sampling = Sampling(),
        acts: Sequence[Act] = (),
        reads: Sequence[Read] = (),
        means: Sequence[MeanRead] = (),
    ) -> Reply:
        """One whole reply."""
        return self.run(self.aio.reply(conversation, sampling=sampling, acts=acts, reads=reads, means=means))

    def stream(
        self,
        conversation: Conversation,
        *,
        sampling: Sampling = Sampling(),
        acts: Sequence[Act] = (),
        reads: Sequence[Read] = (),
        means: Sequence[MeanRead] = (),
    ) -> Iterator[Event]:
        """Events as they come; closing the iterator cancels the reply."""
        return self.events(self.aio.stream(conversation, sampling=sampling, acts=acts, reads=reads, means=means))

    def events(self, source: AsyncIterator[Event]) -> Iterator[Event]:
        """An asynchronous stream of this model's events, one by one."""

        async def step() -> Event | None:
            return await anext(source, None)

        async def stop() -> None:
            if isinstance(source, AsyncGenerator):
                await source.aclose()

        try:
            while (event := self.run(step())) is not None:
                yield event
        finally:
            self.run(stop())

    def choose(self, conversation: Conversation, options: Sequence[str], *, acts: Sequence[Act] = ()) -> Choice:
        """Probabilities of each option as the whole next reply."""
        return self.run(self.aio.choose(conversation, options, acts=acts))

    def read(
        self,
        conversation: Conversation,
        *,
        reads: Sequence[Read] = (),
        means: Sequence[MeanRead] = (),
        acts: Sequence[Act] = (),
    ) -> list[TurnRead]:
        """Read the assistant turns of a transcript without generating."""
        return self.run(self.aio.read(conversation, reads=reads, means=means, acts=acts))

    def close(self) -> None:
        """Stop the engine, leave the model as it was, and end the background loop; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self.run(self.aio.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
