"""Requests of the OpenAI wire, checked at the border: whatever is wrong is named with its field.

A local model is asked for what it can do and no more: a field that would change the reply and is not known is refused, so that
nobody believes it was heeded. To an upstream everything passes through but what would choose another upstream.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError, field_validator

from homing.conversation import Conversation, Message
from homing.engine.base import Sampling
from homing.errors import InputError
from homing.gateway.problems import WireError
from homing.stats.seeds import stable_seed

__all__ = [
    "FORBIDDEN",
    "ChatRequest",
    "CompletionRequest",
    "HomingRequest",
    "RelayedRequest",
    "chat_request",
    "completion_request",
    "relayed_completion",
    "relayed_request",
]

MAX_MESSAGES = 1024
MAX_CHOICES = 8
MAX_STOPS = 16
MAX_STOP_CHARS = 256
MAX_TOKENS = 2**20
SEEDS = 2**63 - 1
NAME = r"^[A-Za-z0-9][A-Za-z0-9._:@+-]{0,127}$"
HOLD = r"^[a-z0-9_]+(\+[a-z0-9_]+){0,7}$"
FORBIDDEN = frozenset(
    {"api_base", "base_url", "api_key", "headers", "extra_headers", "api_version", "custom_llm_provider"}
)
"""Fields with which a client would choose where a request goes, or with whose key (CVE-2024-6587); refused everywhere."""
HARMLESS = frozenset({"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"})
"""Fields that do not touch the reply; taken and left alone."""
TOOLS = frozenset({"tools", "tool_choice", "functions", "function_call", "parallel_tool_calls"})

_SURROGATE = re.compile("[\ud800-\udfff]")

Name = Annotated[StrictStr, Field(pattern=NAME)]
Number = Annotated[float, Field(strict=True)]


class HomingRequest(BaseModel):
    """Our own part of a request.

    Attributes:
        hold: a chain by name, ``none`` for nothing; absent: the deployment's. ``identity``: id in the server's registry.
        conversation_id: of the conversation that this is a turn of. ``shadow``: measure only. ``report``: say what was done.
    """

    model_config = ConfigDict(extra="forbid")

    hold: Annotated[StrictStr, Field(pattern=HOLD, max_length=128)] | None = None
    identity: Name | None = None
    conversation_id: Name | None = None
    shadow: StrictBool | None = None
    report: StrictBool = False


class StreamOptions(BaseModel):
    """What a stream says beside its text."""

    model_config = ConfigDict(extra="forbid")

    include_usage: StrictBool | None = None
    include_obfuscation: StrictBool | None = None


class _Sampled(BaseModel):
    """Fields that both kinds of request share."""

    model_config = ConfigDict(extra="allow")

    model: StrictStr = Field(min_length=1, max_length=256)
    max_tokens: Annotated[StrictInt, Field(ge=1, le=MAX_TOKENS)] | None = None
    temperature: Annotated[Number, Field(ge=0.0, le=2.0)] | None = None
    top_p: Annotated[Number, Field(gt=0.0, le=1.0)] | None = None
    n: Annotated[StrictInt, Field(ge=1, le=MAX_CHOICES)] | None = None
    seed: Annotated[StrictInt, Field(ge=-SEEDS, le=SEEDS)] | None = None
    stop: StrictStr | list[StrictStr] | None = None
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    presence_penalty: Annotated[Number, Field(ge=0.0, le=0.0)] | None = None
    frequency_penalty: Annotated[Number, Field(ge=0.0, le=0.0)] | None = None
    homing: HomingRequest | None = None

    @field_validator("stop")
    @classmethod
    def _stops(cls, value: str | list[str] | None) -> str | list[str] | None:
        strings = [value] if isinstance(value, str) else value or []
        if len(strings) > MAX_STOPS:
            raise ValueError(f"at most {MAX_STOPS} strings")
        if any(not s or len(s) > MAX_STOP_CHARS for s in strings):
            raise ValueError(f"each string needs 1 to {MAX_STOP_CHARS} characters")
        return value

    @property
    def stops(self) -> tuple[str, ...]:
        """The strings that end a reply."""
        return () if self.stop is None else (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    def samplings(self, count: int, tokens: int, top_logprobs: int) -> list[Sampling]:
        """How the tokens of each choice are drawn, as the wire has it: temperature 1 unless told otherwise."""
        base = Sampling(
            max_new_tokens=tokens,
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            seed=secrets.randbelow(SEEDS) if self.seed is None else abs(self.seed),
            stop=self.stops,
            top_logprobs=top_logprobs,
        )
        return [base, *(replace(base, seed=stable_seed("choice", base.seed, k)) for k in range(1, count))]

    @property
    def ours(self) -> HomingRequest:
        """Our own part, empty where there is none."""
        return self.homing or HomingRequest()

    @property
    def beside(self) -> Mapping[str, Any]:
        """Fields that are not known here."""
        return self.model_extra or {}


class ChatRequest(_Sampled):
    """A chat completion."""

    messages: list[dict[str, Any]] = Field(min_length=1, max_length=MAX_MESSAGES)
    max_completion_tokens: Annotated[StrictInt, Field(ge=1, le=MAX_TOKENS)] | None = None
    logprobs: StrictBool | None = None
    top_logprobs: Annotated[StrictInt, Field(ge=0, le=20)] | None = None
    response_format: dict[str, Any] | None = None

    @property
    def most(self) -> int | None:
        """Tokens of the reply at most; None where nothing was said."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    def conversation(self) -> Conversation:
        """The messages as a conversation of text.

        Raises:
            WireError: a message that is not text; its field is named.
        """
        return Conversation(tuple(_message(i, m) for i, m in enumerate(self.messages)))


class CompletionRequest(_Sampled):
    """A completion of plain text, as of old."""

    prompt: StrictStr | list[StrictStr] = Field()
    logprobs: Annotated[StrictInt, Field(ge=0, le=5)] | None = None
    echo: Literal[False] | None = None
    best_of: Literal[1] | None = None

    @property
    def prompts(self) -> list[str]:
        """The texts to go on from."""
        return [self.prompt] if isinstance(self.prompt, str) else list(self.prompt)


def _message(i: int, raw: Mapping[str, Any]) -> Message:
    at = f"messages[{i}]"
    role = raw.get("role")
    if role not in ("system", "developer", "user", "assistant"):
        told = (
            "tools are not passed to a local model"
            if role in ("tool", "function")
            else f"role {str(role)[:40]!r} is unknown"
        )
        raise WireError(400, f"{at}.role: {told}; use system, user or assistant", param=f"{at}.role")
    for name in raw:
        if name not in ("role", "content", "name", "refusal") and raw[name] not in (None, [], {}):
            raise WireError(
                400,
                f"{at}.{str(name)[:40]} is not passed to a local model; leave it out",
                param=f"{at}.{str(name)[:40]}",
            )
    content = raw.get("content")
    if isinstance(content, list):
        parts = cast("list[Any]", content)
        for k, part in enumerate(parts):
            text = cast("Mapping[str, Any]", part).get("text") if isinstance(part, Mapping) else None
            if not isinstance(text, str) or cast("Mapping[str, Any]", part).get("type") != "text":
                where = f"{at}.content[{k}]"
                raise WireError(
                    400, f"{where} is not a part of type text, and a local model reads text alone", param=where
                )
        content = "".join(p["text"] for p in parts)
    if not isinstance(content, str):
        raise WireError(400, f"{at}.content must be text or a list of parts of type text", param=f"{at}.content")
    if not content.isascii() and _SURROGATE.search(content):
        raise WireError(
            400,
            f"{at}.content holds half of a surrogate pair, which is no character; mend its encoding",
            param=f"{at}.content",
        )
    return Message("system" if role == "developer" else role, content)


def _refused(e: ValidationError) -> WireError:
    first = e.errors(include_url=False, include_input=False)[0]
    path, known = "", True
    for part in first["loc"]:
        # names of the union's branches are pydantic's, not the client's
        if (
            isinstance(part, str)
            and re.fullmatch(r"[a-z_]+(\[.*\])?", part)
            and part in ("str", "list[str]", "constrained-str")
        ):
            known = False
            continue
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    path = path[:200]
    said = first["msg"].removeprefix("Value error, ")
    kind = first["type"]
    if kind == "extra_forbidden":
        said = "is unknown; leave it out"
    elif kind == "missing":
        said = "is missing"
    elif path.endswith("_penalty") and kind in ("less_than_equal", "greater_than_equal"):
        said = "this model cannot heed it; leave it out"
    elif not known:
        said = "must be text, or a list of texts"
    return WireError(400, f"{path}: {said[:1].lower()}{said[1:]}" if path else said, param=path or None)


def _forbidden(raw: Mapping[str, Any]) -> None:
    for name in sorted(FORBIDDEN.intersection(raw)):
        raise WireError(400, f"{name}: a request cannot choose where it is sent; leave it out", param=name)


def _local(beside: Mapping[str, Any]) -> None:
    for name, value in beside.items():
        if name in HARMLESS or value is None or (name in TOOLS and value in ([], {}, "none")):
            continue
        shown = name[:80]
        if name in TOOLS:
            raise WireError(400, f"{shown}: the template of this model has no tools; leave it out", param=shown)
        raise WireError(400, f"{shown}: this model cannot heed it; leave it out", param=shown)


def _object(raw: Any) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise WireError(400, "the body must be one JSON object")
    return cast("dict[str, Any]", raw)


def chat_request(raw: Any, *, local: bool) -> ChatRequest:
    """A chat request from JSON.

    Raises:
        WireError: what is wrong, and with which field.
    """
    body = _object(raw)
    _forbidden(body)
    try:
        asked = ChatRequest.model_validate(body)
    except ValidationError as e:
        raise _refused(e) from None
    if local:
        _local(asked.beside)
        if asked.response_format is not None and asked.response_format.get("type") != "text":
            raise WireError(
                400,
                "response_format: this model gives plain text; use type text, or leave it out",
                param="response_format",
            )
    if asked.top_logprobs is not None and not asked.logprobs:
        raise WireError(400, "top_logprobs needs logprobs to be true", param="top_logprobs")
    if asked.stream_options is not None and not asked.stream:
        raise WireError(400, "stream_options needs stream to be true", param="stream_options")
    return asked


def completion_request(raw: Any, *, local: bool) -> CompletionRequest:
    """A completion request from JSON; raises as :func:`chat_request` does."""
    body = _object(raw)
    _forbidden(body)
    try:
        asked = CompletionRequest.model_validate(body)
    except ValidationError as e:
        raise _refused(e) from None
    if local:
        _local(asked.beside)
    many = len(asked.prompts) * (asked.n or 1)
    if not 1 <= many <= MAX_CHOICES:
        raise WireError(
            400, f"prompt: {many} completions are asked for together; 1 to {MAX_CHOICES} are made", param="prompt"
        )
    if any(not p for p in asked.prompts):
        raise WireError(400, "prompt: an empty text gives nothing to go on from", param="prompt")
    if asked.stream_options is not None and not asked.stream:
        raise WireError(400, "stream_options needs stream to be true", param="stream_options")
    return asked


class RelayedRequest(BaseModel):
    """What is read of a request that is passed on: the rest is the upstream's affair."""

    model_config = ConfigDict(extra="allow")

    model: StrictStr = Field(min_length=1, max_length=256)
    messages: list[dict[str, Any]] = Field(min_length=1, max_length=MAX_MESSAGES)
    stream: StrictBool | None = None
    homing: HomingRequest | None = None

    @property
    def ours(self) -> HomingRequest:
        """Our own part, empty where there is none."""
        return self.homing or HomingRequest()

    def conversation(self) -> Conversation:
        """The messages, with whatever else they hold.

        Raises:
            WireError: one of them is no message.
        """
        try:
            return Conversation.from_openai(self.messages)
        except InputError as e:
            raise WireError(400, f"messages: {e}", param="messages") from None


def relayed_request(raw: Any) -> RelayedRequest:
    """A chat request that is passed on; raises as :func:`chat_request` does."""
    body = _object(raw)
    _forbidden(body)
    try:
        return RelayedRequest.model_validate(body)
    except ValidationError as e:
        raise _refused(e) from None


def relayed_completion(raw: Any) -> None:
    """Whether a completion request may be passed on; raises as :func:`chat_request` does."""
    body = _object(raw)
    _forbidden(body)
    ours = body.get("homing")
    if ours is not None:
        try:
            hold = HomingRequest.model_validate(ours).hold
        except ValidationError as e:
            raise _refused(e) from None
        if hold not in (None, "none"):
            raise WireError(
                400, "homing.hold: plain text is passed on and held by nothing; use messages", param="homing.hold"
            )


def chosen(names: Sequence[str], asked: str) -> str:
    """The model that was asked for.

    Raises:
        WireError: 404, it is not served here.
    """
    if asked not in names:
        raise WireError(
            404,
            f"model {asked[:80]!r} is not served here; use {' or '.join(names)}",
            param="model",
            code="model_not_found",
        )
    return asked
