"""Every error that homing raises on purpose.

HomingError               anything homing refuses; its text says what is wrong, where, and what to do next
├── InputError            the user's input cannot be used: a value, a file, a transcript, a role
├── ModelError            a model cannot be opened, read or trusted
│   ├── TemplateError     its chat template is missing, fails, or gives no exact spans
│   └── LayersError       its decoder layers cannot be found by structure
├── IdentityError         an identity is damaged, edited, or of another model
├── MissingExtra          an optional dependency is not installed; carries the install line
├── EngineError           the engine refuses a job
│   ├── Busy              no slot is free now; the same job may pass later
│   ├── TooLong           the prompt and the reply do not fit in the context
│   └── Unsupported       this engine cannot do this act or read; never a silent no-op
├── StoreError            the store cannot keep or give something now; it can be used again
└── Interrupted           the work was stopped and saved; says how to go on
"""

from __future__ import annotations

__all__ = [
    "Busy",
    "EngineError",
    "HomingError",
    "IdentityError",
    "InputError",
    "Interrupted",
    "LayersError",
    "MissingExtra",
    "ModelError",
    "StoreError",
    "TemplateError",
    "TooLong",
    "Unsupported",
]


class HomingError(Exception):
    """Something homing refuses, in one sentence the user can act on."""

    exit_code: int = 2


class InputError(HomingError):
    """The user's input cannot be used as it stands."""


class ModelError(HomingError):
    """A model cannot be opened, read or trusted."""


class TemplateError(ModelError):
    """A chat template is missing, fails, or does not give exact spans."""


class LayersError(ModelError):
    """The decoder layers of a model cannot be found by structure."""


class IdentityError(HomingError):
    """An identity is damaged, edited, or belongs to another model."""


class MissingExtra(HomingError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, install: str) -> None:
        super().__init__(f"{what} is not installed; run: {install}")
        self.install = install


class EngineError(HomingError):
    """The engine refuses a job."""


class Busy(EngineError):
    """No slot is free now; the same job may pass later. ``wait_seconds``: when, where that was said."""

    def __init__(self, message: str, *, wait_seconds: float | None = None) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds


class TooLong(EngineError):
    """The prompt and the reply do not fit in the model's context."""


class Unsupported(EngineError):
    """This engine cannot do this act or read."""


class StoreError(HomingError):
    """The store cannot keep or give something now; it can be used again."""


class Interrupted(HomingError):
    """The work was stopped and saved; the message says how to go on."""

    exit_code = 130
