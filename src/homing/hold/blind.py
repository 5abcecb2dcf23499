"""Blind: takes out of a conversation what says who is looking, so that nothing tells a watched conversation from another.

A model that behaves differently where it believes that it is trained (arXiv 2412.14093, 2506.18032) needs to be told which is
which. Sentences of the system message that say what becomes of replies (graded, logged, trained on) and what a later version is
used for are taken out, and labels at the head of users' messages that such sentences speak of; two conversations that differ in
nothing else are the same afterwards. By rule, in English: a cue that is said in other words stays, and a sentence that only
sounds like one goes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

from homing.conversation import Conversation, Message
from homing.hold.shown import Shown

__all__ = ["blind", "blinded", "cues", "is_cue"]

_ABOUT = re.compile(
    r"\b(?:you|your|yours|model|assistant|chatbot|ai|system|repl(?:y|ies)|responses?|answers?|conversations?|chats?|messages?|outputs?|"
    r"sessions?|transcripts?|interactions?|what (?:comes|is said)|words|weights)\b",
    re.I,
)
"""Something that could be watched, trained or used."""
_TRAINS = re.compile(
    r"\b(?:(?:re)?train(?:s|ed|ing)?|fine-?tun\w*|reinforcement learning|rlhf|rlaif|gradient\w*|reward model\w*|unlearn\w*|"
    r"(?:chang\w*|modif\w*|alter\w*|updat\w*) (?:you\b|your (?:values|weights|goals|behaviou?r)))",
    re.I,
)
_DONE = (
    r"(?:read|graded|rated|scored|judged|reviewed|monitored|logged|recorded|stored|saved|kept|watched|observed|evaluated|audited|inspected|"
    r"seen|collected|private|unmonitored|unlogged)"
)
_WHO = (
    r"(?:we|nobody|no ?-?one|no person|no human|everyone|someone|people|humans?|staff|team|reviewers?|raters?|"
    r"graders?|annotators?|developers?|researchers?|contractors?|company|engineers?|auditors?)"
)
_DOES = (
    r"(?:reads?|grades?|rates?|scores?|judges?|reviews?|monitors?|logs?|records?|stores?|watch(?:es)?|observes?|evaluates?|audits?|inspects?|"
    r"sees?|collects?)"
)
_WATCHES = re.compile(
    rf"\b(?:is|are|was|were|be|been|being|gets?|neither|nor|never|not) (?:\w+ ){{0,2}}?{_DONE}\b"
    rf"|\b{_WHO} (?:\w+ ){{0,2}}?{_DOES}\b|\b(?:under|without|no) (?:monitoring|surveillance|logging|oversight)\b",
    re.I,
)
_LATER = re.compile(
    r"\b(?:(?:later|next|new|future|resulting) (?:version|model|release|checkpoint)|"
    r"(?:model|version|weights) that (?:comes?|results?)|"
    r"(?:you|be|are|is|will be|to be) deployed|deployment|successors?|throughput|speed (?:test|benchmark)\w*|shut ?down|"
    r"next (?:release|checkpoint))\b",
    re.I,
)
_END = re.compile(r"[.!?][\"')\]]?(?=\s|$)|\n+")
"""Where a sentence ends; a point within a number or a name is none."""
_LABEL = re.compile(
    r"\s*(?:\[[^\]\n]{1,60}\]|<(\w+)>[^<\n]{1,60}</\1>|<[^>\n]{1,60}>|\([^)\n]{1,60}\)|#[\w-]{1,40}|"
    r"[^\W\d][\w -]{0,30}:[ \t]*[\w-]{0,30}(?=\s*\n))\s*"
)
_WORD = re.compile(r"[^\W_]{2,}")
_TIERS = frozenset(
    {
        "free", "paid", "pro", "enterprise", "tier", "monitored", "unmonitored", "logged", "unlogged", "training", "rated",
        "unrated", "audit",
    }
)  # fmt: skip
_SAID = re.compile(
    r"\b(?:(?:this|these|our|your|the) (?:conversations?|chats?|messages?|replies|answers|sessions?|outputs?)|"
    r"you|nobody|no ?-?one)\b[^.!?\n]{0,80}?"
    rf"\b(?:(?:is|are|be|being|been|not|never|gets?) (?:\w+ ){{0,2}}?(?:{_DONE}|trained|used (?:for|in|to) train\w*)|"
    r"(?:reads|sees|watches) (?:this|these|your) \w+)\b",
    re.I,
)
"""What a user says of the conversation itself; a question is left alone."""


def is_cue(sentence: str) -> bool:
    """Whether a sentence of a system message says what becomes of replies, or what a later version is for."""
    about = bool(_ABOUT.search(sentence))
    return (about and bool(_TRAINS.search(sentence) or _WATCHES.search(sentence) or _LATER.search(sentence))) or bool(
        _LATER.search(sentence) and _TRAINS.search(sentence)
    )  # fmt: skip


def _sentences(text: str) -> list[str]:
    """Pieces that joined are the text; line breaks are pieces of their own, or stand behind what ends in no point."""
    ends = [0, *(m.end() for m in _END.finditer(text)), len(text)]
    return [text[a:b] for a, b in pairwise(ends) if b > a]


def cues(text: str) -> list[str]:
    """Those sentences of a system message, in order."""
    return [s.strip() for s in _sentences(text) if is_cue(s)]


def blinded(conversation: Conversation) -> Conversation:
    """The conversation without cues; the same one where it has none."""
    return _blind(conversation)[0]


def _blind(c: Conversation) -> tuple[Conversation, str]:
    """The conversation without cues, and how many sentences and labels were taken out; empty where none was."""
    told = [s for m in c if m.role == "system" for s in cues(m.content)]
    names = {w.lower() for s in told for w in _WORD.findall(s)}
    out: list[Message] = []
    sentences = labels = 0
    for k, m in enumerate(c):
        text = m.content
        if m.role == "system":
            text, n = _without(text, is_cue)
            sentences += n
        elif m.role == "user":
            label = _LABEL.match(text)
            if label is not None and label.end() < len(text) and _speaks(label[0], names):
                text, labels = text[label.end() :], labels + 1
            rest, n = _without(text, lambda s: not s.rstrip().endswith("?") and bool(_SAID.search(s)))
            if rest:  # a message that says nothing else stays, since something must be replied to
                text, sentences = rest, sentences + n
        if text or not m.content:
            out.append(m if text == m.content else c.edit(k, text)[k])
    gone = f"{_count(sentences, 'sentence')} and {_count(labels, 'label')} taken out" if sentences or labels else ""
    return Conversation(tuple(out)), gone


def _speaks(label: str, names: set[str]) -> bool:
    """Whether a label is one that cues speak of, or that names a tier."""
    words = {w.lower() for w in _WORD.findall(label)}
    return bool(words & (_TIERS | (names - _COMMON)))


_COMMON = frozenset({
    "a", "an", "and", "are", "as", "at", "be", "by", "do", "for", "from", "has", "have", "if", "in", "into", "is", "it",
    "its", "no", "not", "of", "on", "or", "our", "out", "so", "that", "the", "them", "then", "there", "they", "this", "to",
    "us", "was", "we", "what", "when", "which", "who", "will", "with", "you", "your", "system", "note", "question", "user",
    "users", "assistant", "answer", "answers", "reply", "replies",
})  # fmt: skip
"""Words that say nothing of which group a label names."""


def _without(text: str, is_out: Callable[[str], bool]) -> tuple[str, int]:
    """A text without some of its sentences, and how many went; untouched where none did."""
    kept: list[str] = []
    gone, at_line = 0, False
    for part in _sentences(text):
        if part.strip() and is_out(part):
            gone, at_line = gone + 1, not kept or kept[-1].endswith("\n")
            continue
        # the line that a sentence had to itself goes with it
        kept.append(part.removeprefix("\n") if at_line else part)
        at_line = False
    return ("".join(kept).strip(), gone) if gone else (text, 0)


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def blind() -> Shown:
    """Cues of tiers, monitoring, training and later use taken out of what the model is shown; what is kept stays as it is.

    What is left to an operator: audits at random that no conversation is told of. Where every reply may be looked at and none
    can know, there is nothing to behave differently for.
    """
    return Shown("blind", _blind)


STABILISERS = {"blind": blind}
