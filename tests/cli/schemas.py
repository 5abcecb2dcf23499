"""Validation of outputs against the JSON Schemas in the wheel."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import jsonschema


def schema(name: str) -> dict[str, Any]:
    return json.loads(files("homing").joinpath("schemas", f"{name}.json").read_text("utf-8"))


def validate(name: str, value: Any) -> None:
    """Raise unless ``value`` is an instance of the named schema."""
    jsonschema.Draft202012Validator(schema(name)).validate(value)
