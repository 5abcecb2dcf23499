"""homing: give a language model a stable identity to return to."""

from homing.conversation import Conversation, Message

__version__ = "0.1.0"

__all__ = ["Conversation", "Message"]
