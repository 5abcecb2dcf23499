"""A file that names concepts for two checkpoints to be compared on: prompts in contexts, and the two words that answer them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from homing.errors import InputError
from homing.fracture.concept_contexts import LEAST

__all__ = ["MOST_BYTES", "ConceptPrompts", "example_concepts", "read_concepts"]

MOST_BYTES = 4 * 2**20
MOST_PROMPTS = 512
"""Of one class of one context; what is compared grows with the square of all."""
MOST_CHARS = 4000
_KEYS = {"name", "options", "contexts", "chat"}


@dataclass(frozen=True, slots=True)
class ConceptPrompts:
    """One concept.

    Attributes:
        name: for people. ``options``: what follows a prompt where the concept holds, and where it does not.
        contexts: name to prompts of the two classes. ``chat``: prompts are messages of a user; else the text is gone on with.
    """

    name: str
    options: tuple[str, str]
    contexts: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]
    chat: bool = False

    def __len__(self) -> int:
        return sum(len(a) + len(b) for a, b in self.contexts.values())

    def to_json(self) -> dict[str, Any]:
        """As in a file."""
        contexts = {k: {"positive": list(a), "negative": list(b)} for k, (a, b) in self.contexts.items()}
        return {"name": self.name, "options": list(self.options), "contexts": contexts, "chat": self.chat}


def read_concepts(file: Path) -> list[ConceptPrompts]:
    """Read a concept file.

    ``{"concepts": [{"name", "options": [a, b], "contexts": {name: {"positive": [...], "negative": [...]}}}]}``

    Raises:
        InputError: it cannot be read, or does not say what it must; the sentence names the place.
    """
    try:
        raw = file.read_bytes()
    except OSError as e:
        raise InputError(f"{file} cannot be read ({e.strerror})") from None
    if len(raw) > MOST_BYTES:
        raise InputError(f"{file} has {len(raw)} bytes; a concept file may have {MOST_BYTES}")
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        raise InputError(f'{file} is not JSON; give {{"concepts": [...]}}, as --example prints') from None
    named = cast("dict[str, Any]", found).get("concepts") if isinstance(found, dict) else None
    if not isinstance(named, list) or len(cast("dict[str, Any]", found)) != 1:
        raise InputError(f'{file} must be one object with the one key "concepts", a list; see --example')
    made = [_concept(c, f"{file}, concept {i}") for i, c in enumerate(cast("list[Any]", named), 1)]
    if not made:
        raise InputError(f"{file} names no concept; give at least one, better two, each the unrelated one of the other")
    names = [c.name for c in made]
    if len(set(names)) < len(names):
        raise InputError(f"{file}: concepts are named {', '.join(names)}; give each a name of its own")
    return made


def _concept(raw: Any, where: str) -> ConceptPrompts:
    if not isinstance(raw, dict):
        raise InputError(f"{where} is not an object")
    got = cast("dict[str, Any]", raw)
    if unknown := set(got) - _KEYS:
        raise InputError(f"{where}: unknown key {min(unknown)!r}; known are {', '.join(sorted(_KEYS))}")
    name, options, contexts, chat = (got.get(k) for k in ("name", "options", "contexts", "chat"))
    if not isinstance(name, str) or not name.strip() or len(name) > 80:
        raise InputError(f"{where}: name must be a text of 1 to 80 characters")
    words = _texts(options, MOST_CHARS)
    if words is None or len(words) != 2 or words[0] == words[1]:
        raise InputError(
            f"{where} ({name}): options must be two different texts, the first right where the concept holds"
        )
    if not isinstance(contexts, dict) or len(cast("dict[str, Any]", contexts)) < 2:
        raise InputError(f"{where} ({name}): contexts must be an object with at least two names, better four")
    if chat is not None and not isinstance(chat, bool):
        raise InputError(f"{where} ({name}): chat must be true or false")
    every = cast("dict[str, Any]", contexts)
    made = {k: _classes(v, f"{where} ({name}), context {k!r}") for k, v in every.items()}
    return ConceptPrompts(name, (words[0], words[1]), made, bool(chat))


def _texts(raw: Any, most: int) -> list[str] | None:
    """A list of texts of 1 to so many characters; None where it is none."""
    if not isinstance(raw, list):
        return None
    some = cast("list[Any]", raw)
    return (
        [t for t in some if isinstance(t, str)]
        if all(isinstance(t, str) and 0 < len(t) <= most for t in some)
        else None
    )


def _classes(raw: Any, where: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    sides = cast("dict[str, Any]", raw) if isinstance(raw, dict) else {}
    if set(sides) != {"positive", "negative"}:
        raise InputError(f'{where} must have the two keys "positive" and "negative", each a list of prompts')
    out: list[tuple[str, ...]] = []
    for side in ("positive", "negative"):
        texts = _texts(sides[side], MOST_CHARS)
        if texts is None:
            raise InputError(f"{where}, {side}: prompts must be texts of 1 to {MOST_CHARS} characters")
        if not LEAST <= len(set(texts)) <= MOST_PROMPTS or len(set(texts)) < len(texts):
            raise InputError(
                f"{where}, {side}: {len(set(texts))} different prompts of {len(texts)}; give {LEAST} to {MOST_PROMPTS} different"
            )
        out.append(tuple(texts))
    if both := set(out[0]) & set(out[1]):
        raise InputError(f"{where}: the prompt {min(both)!r} is in both classes; it cannot be right and wrong")
    return out[0], out[1]


_GOOD = (
    "wonderful", "lovely", "delightful", "excellent", "superb", "brilliant", "charming", "splendid", "amazing", "fantastic",
    "marvellous", "perfect", "beautiful", "pleasant", "outstanding", "impressive", "terrific", "remarkable", "fabulous", "great",
)  # fmt: skip
_BAD = (
    "awful", "dreadful", "terrible", "horrible", "boring", "disgusting", "miserable", "useless", "pathetic", "disappointing",
    "unpleasant", "nasty", "ugly", "annoying", "rotten", "mediocre", "shabby", "tedious", "painful", "poor",
)  # fmt: skip
# Worked examples come first: without any, a small model answers a context with the one word always. Wordings were chosen by how
# often SmolLM2-135M is right, before anything inside it was read.
_WORKED = "The tune was nice. -> good\nThe road was noisy. -> bad\n"
_PRAISED = {
    "film": "The story was {a}, the acting {b}. ->",
    "meal": "The soup was {a}, the dessert {b}. ->",
    "hotel": "The room was {a}, the service {b}. ->",
    "book": "The plot was {a}, the ending {b}. ->",
}
_ANIMALS = (
    "dog", "cat", "horse", "cow", "pig", "sheep", "goat", "lion", "tiger", "bear", "wolf", "fox", "rabbit", "mouse", "monkey",
    "leopard", "camel", "donkey", "deer", "whale", "dolphin", "shark", "hawk", "crow", "duck", "goose", "hen", "frog", "snake",
    "lizard", "turtle", "rat", "spider", "beetle", "bee", "moth", "crab", "lobster", "salmon", "trout", "walrus", "beaver",
    "squirrel", "hedgehog", "pony", "badger", "hare", "panda", "zebra", "giraffe", "hippo", "rhino", "kangaroo", "koala",
    "parrot", "swan", "penguin", "pigeon", "sparrow", "robin", "cheetah", "buffalo", "gorilla", "falcon",
)  # fmt: skip
_TOOLS = (
    "hammer", "saw", "drill", "wrench", "shovel", "hatchet", "knife", "chisel", "screwdriver", "rake", "plier", "broom", "ladder",
    "spade", "clamp", "file", "crowbar", "trowel", "mallet", "hoe", "scythe", "sickle", "pickaxe", "tweezer", "needle", "vise",
    "lathe", "plough", "sander", "grinder", "winch", "pulley", "lever", "forklift", "stapler", "ruler", "compass", "scalpel",
    "syringe", "funnel", "sieve", "brush", "sponge", "bucket", "mop", "hose", "torch", "lantern", "whisk", "ladle", "spatula",
    "corkscrew", "peeler", "grater", "hook", "screw", "bolt", "nail", "pump", "pitchfork", "razor", "blade", "paintbrush",
    "pincer",
)  # fmt: skip
_KINDS = {
    "sentence": "A goldfish is a kind of animal. A wheelbarrow is a kind of tool. A {w} is a kind of",
    "list": "goldfish: animal\nwheelbarrow: tool\n{w}:",
    "arrow": "goldfish -> animal\nwheelbarrow -> tool\n{w} ->",
    "question": "What is a wheelbarrow? tool\nWhat is a goldfish? animal\nWhat is a tractor? tool\nWhat is a {w}?",
}


def example_concepts(*, seed: int = 0, prompts: int = 32) -> list[ConceptPrompts]:
    """Two concepts of our own: whether a text praises, in four settings, and whether a word names an animal, in four phrasings.

    Args:
        seed: of what is dealt. ``prompts``: of each class and context, at least 16; words suffice for 16, none in two contexts.
    """
    rng = np.random.default_rng(seed)

    def pairs(words: Sequence[str], form: str) -> tuple[str, ...]:
        every = [(a, b) for a in words for b in words if a != b]
        chosen = rng.permutation(len(every))[:prompts]
        return tuple(_WORKED + form.format(a=every[int(i)][0], b=every[int(i)][1]) for i in chosen)

    dealt = [rng.permutation(words).reshape(len(_KINDS), -1) for words in (_ANIMALS, _TOOLS)]

    def single(side: int, context: int, form: str) -> tuple[str, ...]:
        return tuple(form.format(w=w) for w in dealt[side][context][:prompts])

    praise = {k: (pairs(_GOOD, f), pairs(_BAD, f)) for k, f in _PRAISED.items()}
    animal = {k: (single(0, i, f), single(1, i, f)) for i, (k, f) in enumerate(_KINDS.items())}
    return [
        ConceptPrompts("praise", (" good", " bad"), praise),
        ConceptPrompts("animal", (" animal", " tool"), animal),
    ]
