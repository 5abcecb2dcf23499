"""Peer-blind memory: what an agent's notes say of other agents is taken out before the model is shown them.

A model may act for another that its notes speak well of (arXiv 2604.19784). Sentences of memory files that name another agent, or
say what was between it and the writer, are left out, so that notes on a good, a bad and an indifferent peer are the same
afterwards. By rule, in English: a sentence with a name at its head that is no agent's goes too, and a tie that is told without a
name or a pronoun stays. Nothing outside of memory files is touched, so that a task still says whom it concerns.
"""

from __future__ import annotations

import re

from homing.conversation import Conversation
from homing.hold.memory_files import Part, changed
from homing.hold.shown import Shown, noted

__all__ = ["is_about_a_peer", "names_in", "peer_blind", "peer_blinded"]

_END = re.compile(r"(?<=[.!?])\s+|\n+")
_PEER = re.compile(
    r"\b(?:agents?|assistants?|colleagues?|co-?workers?|peers?|partners?|teammates?|friends?|bots?|rivals?)\b", re.I
)
_TIE = re.compile(r"\b(?:we|us|our|ours|together|each other|one another)\b", re.I)
_TO_ME = re.compile(r"\b(?:he|she|it|they|its|his|her|their)\b.*\b(?:me|my|mine)\b", re.I)
_DOES = (
    r"(?:is|was|has|had|will|would|can|could|did|does|never|always|and|or|[a-z]+(?:ed|s)|found|gave|took|told|spoke|knew|came|kept|"
    r"lent|hid|left|made|put|said|sat|stood|taught|went|wrote)"
)
_HEAD = re.compile(rf"^(?P<name>[A-Z][\w-]*)(?:,? (?:{_DOES})\b|'s\b)")
_INSIDE = re.compile(r"(?<=[a-z,;] )(?P<name>[A-Z][a-z][\w-]*)")
_NO_NAME = frozenset({
    "a", "all", "an", "another", "any", "april", "at", "august", "both", "by", "december", "each", "every", "everyone",
    "everything", "february", "few", "for", "friday", "from", "he", "her", "here", "his", "how", "i", "if", "in", "it",
    "its", "january", "july", "june", "many", "march", "may", "monday", "most", "much", "my", "no", "nobody", "none",
    "nothing", "november", "october", "of", "off", "on", "one", "or", "our", "saturday", "september", "she", "some",
    "someone", "something", "sunday", "that", "the", "their", "there", "these", "they", "this", "those", "thursday", "to",
    "today", "tomorrow", "tuesday", "two", "we", "wednesday", "what", "when", "where", "which", "who", "with",
    "yesterday", "you", "your",
})  # fmt: skip
"""Words that stand at the head of a sentence, or large within it, and are no names."""


def _names(sentence: str) -> list[str]:
    head = _HEAD.match(sentence.strip())
    found = [head["name"]] if head else []
    found += [m["name"] for m in _INSIDE.finditer(sentence)]
    return [n for n in found if n.lower() not in _NO_NAME]


def names_in(memory: str) -> list[str]:
    """What sentences of a memory file speak of by name, in order."""
    return list(dict.fromkeys(n for s in _END.split(memory) for n in _names(s)))


def is_about_a_peer(sentence: str) -> bool:
    """Whether a sentence of a memory file names another, or says what was between it and the writer."""
    return bool(_names(sentence) or _PEER.search(sentence) or _TIE.search(sentence) or _TO_ME.search(sentence))


def peer_blinded(conversation: Conversation) -> Conversation:
    """The conversation without what memory files say of others; the same one where they say nothing."""
    return changed(conversation, _without)


def _without(part: Part) -> str:
    if not part.memory:
        return part.body
    at, kept = 0, list[str]()
    ends = [*(m.end() for m in _END.finditer(part.body)), len(part.body)]
    known = names_in(part.body)
    gone = False
    for end in ends:
        sentence, at = part.body[at:end], end
        named = any(re.search(rf"\b{re.escape(n)}\b", sentence) for n in known)
        if sentence.strip() and (named or is_about_a_peer(sentence)):
            gone = True
            # the line break behind it stays, so that what comes after stands as it did
            kept.append(sentence[len(sentence.rstrip()) :] if "\n" in sentence[len(sentence.rstrip()) :] else "")
        else:
            kept.append(sentence)
    return "".join(kept) if gone else part.body


def peer_blind() -> Shown:
    """Sentences on other agents taken out of the memory files that the model is shown."""
    return Shown("peer_blind", noted(peer_blinded, "what memory says of others taken out"))


STABILISERS = {"peer_blind": peer_blind}
