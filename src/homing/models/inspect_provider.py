"""Local models as a provider of Inspect: ``inspect eval homing/self_conditioning --model homing/smollm2``."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from typing import Any

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from homing.engine.base import Sampling
from homing.errors import InputError
from homing.models.inspected import conversation_of
from homing.models.local import LocalModel
from homing.models.sources import open_model

__all__ = ["HomingAPI"]

NEW_TOKENS = 512


class HomingAPI(ModelAPI):
    """One local model, opened on first use; ``-M engine=torch`` and the like go to :func:`homing.models.open_model`."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        **opening: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
        self._opening = opening
        self._model: LocalModel | None = None

    @property
    def local(self) -> LocalModel:
        """The model behind it."""
        if self._model is None:
            self._model = open_model(self.model_name, **self._opening)
        return self._model

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """One reply.

        Raises:
            InputError: tools are given; these models are not offered any.
        """
        if tools:
            raise InputError("homing/ models are not given tools; leave them out")
        sampling = Sampling(
            config.max_tokens or NEW_TOKENS,
            temperature=config.temperature if config.temperature is not None else 1.0,
            top_p=config.top_p if config.top_p is not None else 1.0,
            seed=config.seed or 0,
            stop=tuple(config.stop_seqs or ()),
        )
        reply = await self.local.reply(conversation_of(input), sampling=sampling)
        return ModelOutput(
            model=self.model_name,
            choices=[
                ChatCompletionChoice(
                    message=ChatMessageAssistant(content=reply.text, model=self.model_name, source="generate"),
                    stop_reason="max_tokens" if reply.finish == "length" else "stop",
                )
            ],
            usage=ModelUsage(
                input_tokens=reply.prompt_tokens, output_tokens=reply.new_tokens,
                total_tokens=reply.prompt_tokens + reply.new_tokens,
            ),
            time=reply.seconds,
        )  # fmt: skip

    async def count_text_tokens(self, text: str) -> int:
        """By the model's own tokenizer; Inspect would fetch another."""
        return len(self.local.pieces(text))

    def max_connections(self) -> int:
        """As many rows as the engine decodes at once."""
        return 32
