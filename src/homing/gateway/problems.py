"""Errors as the OpenAI wire has them: an object with message, type, param and code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homing.errors import Busy, EngineError, HomingError, InputError, StoreError, TemplateError, TooLong, Unsupported

__all__ = ["WireError", "problem_of"]

TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "conflict_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    429: "rate_limit_error",
}


class WireError(Exception):
    """A request that is answered with an error.

    Args:
        status: of HTTP. message: one sentence. param: the field that is wrong. code: for programs.
        headers: sent beside it, such as Retry-After.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        """The JSON that is sent."""
        kind = TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def problem_of(error: Exception) -> WireError:
    """What a client is told of an error; of one that is our own bug, no more than that."""
    if isinstance(error, WireError):
        return error
    if isinstance(error, Busy):
        return WireError(429, str(error), code="queue_full", headers={"Retry-After": "1"})
    if isinstance(error, TooLong):
        return WireError(400, str(error), param="messages", code="context_length_exceeded")
    if isinstance(error, Unsupported | TemplateError | InputError):
        return WireError(400, str(error))
    if isinstance(error, EngineError):
        return WireError(503, str(error), code="engine_error", headers={"Retry-After": "1"})
    if isinstance(error, StoreError):
        return WireError(503, str(error), code="store_error", headers={"Retry-After": "1"})
    if isinstance(error, HomingError):
        return WireError(502, str(error), code="model_error")
    return WireError(
        500, "the gateway met an error of its own; its log has it under this request's id", code="internal"
    )
