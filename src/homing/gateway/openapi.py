"""The description of the wire for programs that read one, made from the types that check it."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from homing import __version__
from homing.gateway.wire import HOLD, NAME, ChatRequest, CompletionRequest

__all__ = ["document"]

ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "pattern": NAME}}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _fields(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties, "additionalProperties": False}


def _operation(summary: str, *, body: dict[str, Any] | None = None, parameters: tuple[Any, ...] = ()) -> dict[str, Any]:
    out: dict[str, Any] = {
        "summary": summary,
        "responses": {
            "200": {"description": "done"},
            "default": {
                "description": "refused",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
    }
    if body is not None:
        out["requestBody"] = _json(body)
    if parameters:
        out["parameters"] = list(parameters)
    return out


def document() -> dict[str, Any]:
    """OpenAPI 3.1."""
    _, schemas = models_json_schema(
        [(ChatRequest, "validation"), (CompletionRequest, "validation")], ref_template="#/components/schemas/{model}"
    )
    shared: dict[str, Any] = {**schemas["$defs"], "Error": ERROR}
    limit = {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 200}}
    before = {"name": "before", "in": "query", "schema": {"type": "string", "pattern": NAME}}
    after = {"name": "after", "in": "query", "schema": {"type": "integer", "minimum": 0, "maximum": 10**8}}
    at = "/homing/v1/conversations"
    hold = {"type": ["string", "null"], "pattern": HOLD, "maxLength": 128}
    paths: dict[str, Any] = {
        "/health": {"get": _operation("Whether it lives.")},
        "/health/ready": {"get": _operation("Whether it takes requests.")},
        "/metrics": {"get": _operation("Figures for Prometheus.")},
        "/v1/models": {"get": _operation("Models that are served.")},
        "/v1/models/{id}": {"get": _operation("One of them.", parameters=(ID,))},
        "/v1/chat/completions": {
            "post": _operation("A reply.", body={"$ref": "#/components/schemas/ChatRequest"}),
        },
        "/v1/completions": {
            "post": _operation("Plain text gone on with.", body={"$ref": "#/components/schemas/CompletionRequest"}),
        },
        "/homing/v1/status": {"get": _operation("What is served, and its load.")},
        "/homing/v1/holds": {"get": _operation("Holds that this service can do.")},
        "/homing/v1/identities": {"get": _operation("Homes.")},
        at: {"get": _operation("Conversations, newest first.", parameters=(limit, before))},
        f"{at}/{{id}}": {
            "get": _operation("One conversation.", parameters=(ID,)),
            "delete": _operation("Forget it.", parameters=(ID,)),
        },
        f"{at}/{{id}}/trace": {"get": _operation("Positions of its tokens.", parameters=(ID, after))},
        f"{at}/{{id}}/hold": {"post": _operation("Choose its hold.", body=_fields(hold=hold), parameters=(ID,))},
        f"{at}/{{id}}/return": {"post": _operation("Bring it back.", body=_fields(), parameters=(ID,))},
        f"{at}/{{id}}/compare": {
            "post": _operation(
                "Make a turn again, held and not.", body=_fields(turn={"type": "integer"}), parameters=(ID,)
            )
        },
        "/homing/v1/alarms/{id}": {
            "post": _operation("Mark an alarm.", body=_fields(false_alarm={"type": "boolean"}), parameters=(ID,))
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "homing", "version": __version__},
        "paths": paths,
        "components": {"schemas": shared},
    }
