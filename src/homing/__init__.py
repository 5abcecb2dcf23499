"""homing: give a language model a stable identity to return to. Map it, watch it, hold it, prove it.

``open`` a model by name or ``wrap`` one of your own, ``Identity.build`` or ``Identity.load`` its home, and
``identity.watch`` a conversation. Nothing heavy is imported until one of these is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homing.conversation import Conversation, Message

if TYPE_CHECKING:
    from homing.verbs.api import Identity, open, wrap

__version__ = "0.1.0"

__all__ = ["Conversation", "Identity", "Message", "open", "wrap"]

_LAZY = frozenset({"Identity", "open", "wrap"})


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from homing.verbs import api

        return getattr(api, name)
    raise AttributeError(f"module 'homing' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
