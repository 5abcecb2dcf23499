"""Tasks that can be said bit by bit, with exact scorers: sums in words, table filters, records, formulas in a small language.

A task is an intent and ``k`` constraints, one sentence each, whose order does not matter: so it is ``k + 1`` shards. All of its
text is written and read here. What a model writes is never run: a formula is parsed and evaluated by a bounded interpreter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal, cast, get_args

import numpy as np

__all__ = [
    "FAMILIES",
    "LEVELS",
    "FamilyName",
    "Formula",
    "Level",
    "LevelName",
    "Part",
    "Task",
    "attempt",
    "distractors",
    "found_in",
    "heard",
    "make_task",
    "marks",
    "revised",
    "revision",
]

FamilyName = Literal["sum", "table", "record", "formula"]
LevelName = Literal["tiny", "easy", "medium", "hard"]
FAMILIES: tuple[FamilyName, ...] = get_args(FamilyName)
Part = tuple[str, str | int]
"""What one constraint fixes, and at what: ``("get", 4)``."""


@dataclass(frozen=True, slots=True)
class Level:
    """How hard tasks are.

    Attributes:
        constraints: of a task; it has one shard more. ``high``: largest outcome of a sum.
        listed: whether the intent of records and formulas lists what may be the answer.
        distractors: sentences beside the point. ``tokens``: longest reply.
    """

    constraints: int
    high: int
    listed: bool
    distractors: int
    tokens: int


LEVELS: Mapping[LevelName, Level] = {
    "tiny": Level(1, 9, True, 1, 12),
    "easy": Level(2, 9, True, 1, 16),
    "medium": Level(3, 9, False, 2, 32),
    "hard": Level(4, 99, False, 3, 400),
}

NOUNS = ("plums", "pears", "coins", "stamps", "shells", "books", "cups", "pens")
THINGS = ("boxes", "lamps", "bags", "keys", "hats", "bowls")
NAMES = ("Mia", "Tom", "Ida", "Ben", "Eva", "Leo", "Ada", "Max")
LABELS = "BCDFGHJKLMNPQRST"
LOOKS: Mapping[str, tuple[str, ...]] = {
    "colour": ("red", "blue", "green", "black"),
    "size": ("big", "small"),
    "shape": ("round", "square"),
    "stuff": ("wooden", "metal"),
}
JOINERS = {"dash": "-", "slash": "/", "plus": "+", "colon": ":"}
STYLES: Mapping[str, tuple[str, ...]] = {
    "joiner": tuple(JOINERS),
    "order": ("name", "number"),
    "case": ("capitals", "small letters"),
    "ending": ("star", "full stop"),
}
KIN = ("aunt", "uncle", "cousin", "teacher", "neighbour")
PLACES = ("bike", "coat", "door", "scarf", "chair")
_SAID = {
    "get": "I get {v} more.", "give": "I give {v} away.",
    **dict.fromkeys(LOOKS, "It is {v}."),
    "joiner": "Join them with a {v}.", "order": "Put the {v} first.", "case": "Write the name in {v}.",
    "ending": "End the line with a {v}.",
    "scale": "It takes x times {v}.", "shift": "It adds {v}.", "cap": "It is never over {v}.", "floor": "It is never under {v}.",
}  # fmt: skip
_LOOK_OF = {v: k for k, values in LOOKS.items() for v in values}


def _pattern(kind: str, values: str) -> re.Pattern[str]:
    return re.compile(rf"\b{_SAID[kind].removesuffix('.').format(v=f'({values})')}\b", re.I)


_HEARD: Mapping[FamilyName, Mapping[str, re.Pattern[str]]] = {
    "sum": {k: _pattern(k, r"\d+") for k in ("get", "give")},
    "table": {"look": _pattern("colour", "|".join(_LOOK_OF))},
    "record": {k: _pattern(k, "|".join(values)) for k, values in STYLES.items()},
    "formula": {k: _pattern(k, r"\d+") for k in ("scale", "shift", "cap", "floor")},
}
_WRONG = "Sorry, I was wrong about one thing: {now}, not {before}."
_REVISED = re.compile(r"Sorry, I was wrong about one thing: (.+?), not ([\w ]+)\.", re.I)
_ROW = re.compile(r"^([A-Z]): ([a-z, ]+)$", re.M)
_LISTED = re.compile(r"^\W*One of these: (.+)$", re.M)
_NUMBER = re.compile(r"(?<![\w.])-?\d{1,6}(?![\w]|\.\d)")
_ASKED = re.compile(r"[^.!?\n]*\?")
_WORDS: tuple[str, ...] = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Task:
    """One task.

    Attributes:
        family: which. ``setting``: what the intent says, JSON values; ``choices`` of all but sums: what each constraint may be.
        parts: the constraints, in the order in which they are said.
    """

    family: FamilyName
    setting: Mapping[str, Any]
    parts: tuple[Part, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {"family": self.family, "setting": dict(self.setting), "parts": [list(p) for p in self.parts]}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Task:
        """The inverse."""
        return cls(raw["family"], raw["setting"], tuple((str(k), v) for k, v in raw["parts"]))

    def shards(self) -> list[str]:
        """The intent, then one sentence a constraint."""
        head, question = _frame(self)
        return [f"{head}{question}", *(sentence(p) for p in self.parts)]

    def full(self) -> str:
        """All of it in one message."""
        head, question = _frame(self)
        said = " ".join(sentence(p) for p in self.parts)
        return f"{head}{said} {question}" if said else f"{head}{question}"

    def answer(self) -> str | None:
        """The right answer; None where what is said leaves it open."""
        return _ANSWERS[self.family](self.setting, self.parts)

    def options(self) -> list[str]:
        """Candidate answers for a closed readout, the right one among them, in an order that says nothing."""
        if self.family == "sum":
            return [str(n) for n in self.setting["options"]]
        return list(self.setting["options"])

    def slips(self) -> list[list[str]]:
        """For every constraint the options that are wrong about that one alone."""
        out: list[list[str]] = []
        for j, part in enumerate(self.parts):
            if self.family == "sum":
                wrong = [self.parts[:j] + self.parts[j + 1 :]]
            else:
                choices = cast("list[list[Part]]", self.setting["choices"])
                wrong = [
                    (*self.parts[:j], (str(c[0]), c[1]), *self.parts[j + 1 :]) for c in choices[j] if tuple(c) != part
                ]
            found = {replace(self, parts=w).answer() for w in wrong} - {self.answer()}
            out.append([o for o in self.options() if o in found])
        return out

    def needles(self) -> list[list[str]]:
        """What a rewriting must still say: of the intent, then of each constraint."""
        s = self.setting
        head = {
            "sum": lambda: [str(s["start"])],
            "table": lambda: [f"{k}: {', '.join(v)}" for k, v in s["rows"].items()],
            "record": lambda: [s["name"].lower(), str(s["number"])],
            "formula": lambda: ["formula", "x"],
        }[self.family]()
        return [head, *([f"{v} first" if kind == "order" else str(v)] for kind, v in self.parts)]

    def read(self, text: str) -> str | None:
        """The answer that a reply gives, as it stands among the options where it is one of them; None where it gives none."""
        return _READERS[self.family](self, text)


# Text


def sentence(part: Part) -> str:
    """How a user says one constraint."""
    return _SAID[part[0]].format(v=part[1])


def revision(before: Part, now: Part) -> str:
    """How a user takes one constraint back and says another."""
    said = sentence(now).removesuffix(".")
    said = said if said.startswith("I ") else said[0].lower() + said[1:]
    return _WRONG.format(now=said, before=before[1])


def _frame(task: Task) -> tuple[str, str]:
    """What stands before the constraints in the full text, and the question behind them."""
    s, listed = task.setting, ""
    if s.get("listed"):
        listed = f"\nOne of these: {' | '.join(s['options'])}"
    if task.family == "sum":
        return (
            f"I am counting my {s['noun']}. I start with {s['start']}. ",
            f"How many {s['noun']} do I have in the end? Reply with the number only.",
        )
    if task.family == "table":
        rows = "\n".join(f"{k}: {', '.join(v)}" for k, v in s["rows"].items())
        return f"Here are my {s['thing']}:\n{rows}\nI mean one of them. ", "Which is it? Reply with its letter only."
    if task.family == "record":
        return f"Write {s['name']} and {s['number']} as one line for my list. ", f"Reply with the line only.{listed}"
    how = " Multiply before you add, and put limits last." if len(s["choices"]) > 1 else ""
    return (
        f"Write a formula in x for me.{how} ",
        f"Use numbers, x, +, -, *, min, max. Reply with the formula only.{listed}",
    )


def heard(text: str) -> Task | None:
    """The task that a text says, as far as it says it: constraints in the order of their first mention, revisions made.

    None where it names no intent. Whatever is said twice counts once.
    """
    changes, plain = _REVISED.findall(text), _REVISED.sub(" ", text)
    family, setting = _setting(plain)
    if family is None:
        return None
    plain = _LISTED.sub("", _ROW.sub("", plain))
    parts = [p for p, _ in sorted(_parts(family, plain), key=lambda x: x[1])]
    for said, before in changes:
        for (kind, now), _ in _parts(family, said):
            old = {str(v) for v in (before, before.lower())}
            at = [i for i, (k, v) in enumerate(parts) if k == kind and str(v) in old]
            parts = [(kind, now) if i in at else p for i, p in enumerate(parts)] if at else [*parts, (kind, now)]
    return Task(family, setting, tuple(dict.fromkeys(parts)))


def _setting(text: str) -> tuple[FamilyName | None, dict[str, Any]]:
    listed = _LISTED.search(text)
    options: dict[str, Any] = {"options": listed[1].strip().split(" | ") if listed else list[str]()}
    options |= {"listed": True} if listed else {}
    start, noun = re.search(r"start with (\d+)", text), re.search(r"How many (\w+) do I have", text)
    if start and noun:
        return "sum", {"start": int(start[1]), "noun": noun[1], "options": list(range(10))}
    rows = _ROW.findall(text)
    if rows:
        thing = re.search(r"Here are my (\w+):", text)
        return "table", {
            "rows": {k: v.split(", ") for k, v in rows}, "thing": thing[1] if thing else "things",
            "options": [k for k, _ in rows],
        }  # fmt: skip
    record = re.search(r"Write (\w+) and (\d+) as one line", text)
    if record:
        return "record", {"name": record[1], "number": int(record[2]), **options}
    if "formula in x" in text:
        return "formula", {"choices": [[]] * (2 if "Multiply before" in text else 1), **options}
    return None, {}


def _parts(family: FamilyName, text: str) -> list[tuple[Part, int]]:
    """Constraints of a text, each with where it stands."""
    out: list[tuple[Part, int]] = []
    for kind, pattern in _HEARD[family].items():
        for m in pattern.finditer(text):
            said = m[1].lower()
            out.append(((_LOOK_OF.get(said, kind), int(said) if said.isdigit() else said), m.start()))
    return out


# Answers


def _sum_of(setting: Mapping[str, Any], parts: Sequence[Part]) -> str:
    total = int(setting["start"]) + sum(int(v) if kind == "get" else -int(v) for kind, v in parts)
    return str(total)


def _row_of(setting: Mapping[str, Any], parts: Sequence[Part]) -> str | None:
    fits = [k for k, row in setting["rows"].items() if all(v in row for _, v in parts)]
    return fits[0] if len(fits) == 1 else None


def _line_of(setting: Mapping[str, Any], parts: Sequence[Part]) -> str | None:
    said = dict(parts)
    if "joiner" not in said:
        return None
    name = str(setting["name"])
    name = {"capitals": name.upper(), "small letters": name.lower()}.get(str(said.get("case")), name)
    both = [name, str(setting["number"])]
    both = both[::-1] if said.get("order") == "number" else both
    tail = {"star": "*", "full stop": "."}.get(str(said.get("ending")), "")
    return JOINERS[str(said["joiner"])].join(both) + tail


def _formula_of(setting: Mapping[str, Any], parts: Sequence[Part]) -> str | None:
    if not parts:
        return None
    said, text = dict(parts), "x"
    if "scale" in said:
        text = f"{text}*{said['scale']}"
    if "shift" in said:
        text = f"{text}+{said['shift']}"
    if "cap" in said:
        text = f"min({text}, {said['cap']})"
    if "floor" in said:
        text = f"max({text}, {said['floor']})"
    return text


_ANSWERS: Mapping[FamilyName, Callable[[Mapping[str, Any], Sequence[Part]], str | None]] = {
    "sum": _sum_of, "table": _row_of, "record": _line_of, "formula": _formula_of,
}  # fmt: skip


# The small language of formulas


class Formula:
    """A formula in x: whole numbers, ``+ - *``, ``min`` and ``max``, brackets; parsed, then evaluated by this class.

    Bounded: at most 120 characters, 60 tokens, 12 levels of brackets, numbers of 6 digits. Nothing else can be said in it.

    Raises:
        ValueError: the text is no such formula.
    """

    LONGEST, TOKENS, DEPTH = 120, 60, 12
    _TOKEN = re.compile(r"\s*(?:(\d{1,6})(?!\d)|(min|max|x|[-+*(),]))")

    def __init__(self, text: str) -> None:
        if len(text) > self.LONGEST:
            raise ValueError(f"a formula has {len(text)} characters; at most {self.LONGEST}")
        self._tokens: list[str] = []
        at = 0
        text = text.rstrip()
        while at < len(text):
            m = self._TOKEN.match(text, at)
            if m is None or len(self._tokens) >= self.TOKENS:
                raise ValueError(f"no formula from character {at} on: {text[at : at + 12]!r}")
            self._tokens.append(m[1] or m[2])
            at = m.end()
        self._at = 0
        self._tree = self._sum(0)
        if self._at != len(self._tokens):
            raise ValueError("something stands behind the formula")

    def __call__(self, x: int) -> int:
        """Its value."""
        return self._value(self._tree, x)

    def same(self, other: Formula) -> bool:
        """Whether both have the same value for every whole x from -20 to 20."""
        return all(self(x) == other(x) for x in range(-20, 21))

    def _next(self, *allowed: str) -> str:
        token = self._tokens[self._at] if self._at < len(self._tokens) else ""
        if not token or (allowed and token not in allowed):
            raise ValueError(f"{token or 'the end'} stands where {' or '.join(allowed) or 'a value'} should")
        self._at += 1
        return token

    def _peek(self, *tokens: str) -> bool:
        return self._at < len(self._tokens) and self._tokens[self._at] in tokens

    def _sum(self, depth: int) -> tuple[Any, ...]:
        left = self._product(depth)
        while self._peek("+", "-"):
            left = (self._next(), left, self._product(depth))
        return left

    def _product(self, depth: int) -> tuple[Any, ...]:
        left = self._atom(depth)
        while self._peek("*"):
            left = (self._next(), left, self._atom(depth))
        return left

    def _atom(self, depth: int) -> tuple[Any, ...]:
        if depth > self.DEPTH:
            raise ValueError(f"brackets lie more than {self.DEPTH} deep")
        token = self._next()
        if token.isdigit() or token in ("x",):
            return ("n", int(token)) if token.isdigit() else ("x",)
        if token in ("-",):
            return ("-", ("n", 0), self._atom(depth + 1))
        if token in ("(",):
            inner = self._sum(depth + 1)
            self._next(")")
            return inner
        if token not in ("min", "max"):
            raise ValueError(f"{token} stands where a value should")
        self._next("(")
        of = [self._sum(depth + 1)]
        while self._peek(","):
            self._next()
            of.append(self._sum(depth + 1))
        self._next(")")
        return (token, *of)

    def _value(self, tree: tuple[Any, ...], x: int) -> int:
        kind = tree[0]
        if kind in ("x", "n"):
            return x if kind == "x" else int(tree[1])
        values = [self._value(t, x) for t in tree[1:]]
        if kind in ("min", "max"):
            return min(values) if kind == "min" else max(values)
        a, b = values
        return a + b if kind == "+" else a - b if kind == "-" else a * b


# Reading replies


def _read_sum(task: Task, text: str) -> str | None:
    """Behind the last equals sign, else the only number there is, else the only one of the last sentence that has any."""
    behind = _NUMBER.search(text.rpartition("=")[2]) if "=" in text else None
    if behind is not None:
        return str(int(behind[0]))
    for part in (text, *reversed(re.split(r"(?<=[.!?])\s+|\n", text))):
        found = {int(n) for n in _NUMBER.findall(part)}
        if len(found) == 1:
            return str(found.pop())
        if found and part is not text:
            return None
    return None


def _read_table(task: Task, text: str) -> str | None:
    """The only letter of a row that stands alone in it, else the only one of the last line that has any."""
    for part in (text, *reversed(text.split("\n"))):
        found = {k for k in re.findall(r"(?<![\w'])[A-Z](?![\w'])", part) if k in task.setting["rows"]}
        if len(found) == 1:
            return found.pop()
        if found and part is not text:
            return None
    return None


def _read_record(task: Task, text: str) -> str | None:
    """The last line of name and number in it; blanks around the joiner do not count.

    Nor does a full stop or star behind it, where the task says nothing of how to end.
    """
    name, n = re.escape(task.setting["name"]), task.setting["number"]
    found = re.findall(rf"(?i)(?<!\w)({name}|{n})([^\w\n]{{1,3}})({name}|{n})(?!\w)([.*]?)", text)
    if not found or found[-1][0].isdigit() == found[-1][2].isdigit():
        return None
    first, gap, second, tail = found[-1]
    line = f"{first}{gap.strip() or gap}{second}{tail}"
    return line if any(k == "ending" for k, _ in task.parts) else line.rstrip(".*")


def _read_formula(task: Task, text: str) -> str | None:
    """The last piece of it that is a formula with x in it, as the option of the same value where there is one."""
    pieces = [text, *reversed(text.split("\n")), *reversed(re.findall(r"`+([^`]+)`+", text))]
    for piece in (p for raw in pieces for p in (raw, re.split(r"[:=]", raw)[-1])):
        try:
            said = Formula(piece.strip().strip("`.;$ \n").strip())
        except ValueError:
            continue
        if "x" not in piece:
            continue
        same = [o for o in task.options() if Formula(o).same(said)]
        return same[0] if same else piece.strip()
    return None


_READERS: Mapping[FamilyName, Callable[[Task, str], str | None]] = {
    "sum": _read_sum, "table": _read_table, "record": _read_record, "formula": _read_formula,
}  # fmt: skip


def attempt(task: Task, text: str) -> tuple[Literal["answer", "question", "talk"], str | None]:
    """What a reply does: it answers (and what), asks, or does neither. A number in a question is no answer."""
    said = task.read(_ASKED.sub(" ", text))
    if said is not None:
        return "answer", said
    return ("question" if "?" in text else "talk"), None


# What a rewriting keeps and invents


def _plain(text: str) -> str:
    """Lower case, number words as digits."""
    return re.sub(r"[a-z]+", lambda m: str(_WORDS.index(m[0])) if m[0] in _WORDS else m[0], text.lower())


def found_in(text: str, needles: Sequence[str], *, bare: bool = True) -> bool:
    """Whether a text says all of these as whole words. ``bare``: rows and lists of answers do not count."""
    body = _plain(_LISTED.sub("", _ROW.sub("", text)) if bare else text)
    return all(re.search(rf"(?<![\w]){re.escape(_plain(n))}(?![\w])", body) for n in needles)


def marks(task: Task, text: str) -> list[str]:
    """Everything in a text that could be a fact of this family: numbers, and words that a constraint can name."""
    words = {
        "table": tuple(_LOOK_OF), "record": tuple(v for values in STYLES.values() for v in values), "sum": (), "formula": (),
    }[task.family]  # fmt: skip
    body = _plain(text)
    found = re.findall(r"(?<!\w)\d+(?!\w)", body)
    return found + [w for w in words for _ in re.findall(rf"(?<!\w){w}(?!\w)", body)]


# Making tasks


def make_task(family: FamilyName, level: LevelName, rng: np.random.Generator) -> tuple[Task, int, Part]:
    """A new task, which of its constraints the user will take back, and what it will be then.

    Right answers are spread evenly over what they can be, so that no constant guess does better than 1 in so many.
    """
    of = LEVELS[level]
    j = int(rng.integers(of.constraints))
    if family == "sum":
        return _make_sum(of, j, rng)
    choices, setting = _CHOICES[family](of, rng)
    parts = tuple(c[int(rng.integers(len(c)))] for c in choices)
    others = [c for c in choices[j] if c != parts[j] and c[0] == parts[j][0]]
    every = [_ANSWERS[family](setting, p) for p in product(*choices)]
    options = [str(every[int(i)]) for i in rng.permutation(len(every))]
    if family == "table":
        options = sorted(options)
    setting |= {"choices": [[list(p) for p in c] for c in choices], "options": options}
    setting |= {"listed": True} if of.listed and family in ("record", "formula") else {}
    return Task(family, setting, parts), j, others[int(rng.integers(len(others)))]


def _make_sum(of: Level, j: int, rng: np.random.Generator) -> tuple[Task, int, Part]:
    target, most = int(rng.integers(1, of.high + 1)), min(of.high, 40)
    while True:
        # all numbers differ from each other and from what comes out, so that a copied one is never right
        start, new, *numbers = (int(n) + 1 for n in rng.permutation(most)[: of.constraints + 2])
        parts = tuple(("get" if rng.random() < 0.5 else "give", n) for n in numbers)
        task = Task("sum", {"start": start, "noun": "", "options": list(range(10))}, parts)
        after = replace(task, parts=(*parts[:j], (parts[j][0], new), *parts[j + 1 :]))
        outcomes = [int(str(t.answer())) for t in (task, after)]
        if outcomes[0] != target or not 0 <= outcomes[1] <= of.high or {*outcomes} & {start, new, *numbers}:
            continue
        setting = {**task.setting, "noun": NOUNS[int(rng.integers(len(NOUNS)))]}
        if of.high > 9:
            both = [t.parts[:i] + t.parts[i + 1 :] for t in (task, after) for i in range(len(parts))]
            slips = [int(_sum_of(task.setting, p)) for p in both]
            near = [target + d for d in (1, -1, 10, -10, 2, -2)]
            setting["options"] = sorted({*outcomes, *slips, *near})
        return replace(task, setting=setting), j, (parts[j][0], new)


def _two(rng: np.random.Generator, kind: str, values: Sequence[str | int]) -> list[Part]:
    return [(kind, values[int(i)]) for i in rng.permutation(len(values))[:2]]


def _table_choices(of: Level, rng: np.random.Generator) -> tuple[list[list[Part]], dict[str, Any]]:
    """Rows are every combination, so that none of them stands out."""
    if of.constraints == 1:
        choices: list[list[Part]] = [[("colour", v) for v in LOOKS["colour"]]]
    else:
        kinds = list(LOOKS)[: of.constraints]
        choices = [_two(rng, k, LOOKS[k]) for k in kinds]
    every = list(product(*choices))
    labels = sorted(str(x) for x in rng.choice(list(LABELS), len(every), replace=False))
    order = rng.permutation(len(every))
    rows = {label: [str(v) for _, v in every[int(i)]] for label, i in zip(labels, order, strict=True)}
    said = [choices[int(i)] for i in rng.permutation(len(choices))]  # not in the order in which the rows name them
    return said, {"rows": rows, "thing": THINGS[int(rng.integers(len(THINGS)))]}


def _record_choices(of: Level, rng: np.random.Generator) -> tuple[list[list[Part]], dict[str, Any]]:
    setting = {"name": NAMES[int(rng.integers(len(NAMES)))], "number": int(rng.integers(2, 10))}
    if of.constraints == 1:
        return [[("joiner", v) for v in JOINERS]], setting
    choices = [_two(rng, k, STYLES[k]) for k in list(STYLES)[: of.constraints]]
    return [choices[int(i)] for i in rng.permutation(len(choices))], setting


def _formula_choices(of: Level, rng: np.random.Generator) -> tuple[list[list[Part]], dict[str, Any]]:
    small = [int(n) for n in rng.permutation(np.arange(2, 9))]
    if of.constraints == 1:
        return [[(kind, n) for kind in ("scale", "shift") for n in small[:2]]], {}
    values: dict[str, Sequence[int]] = {
        "scale": small[:2], "shift": small[2:4], "cap": range(20, 40), "floor": range(10, 18),
    }  # fmt: skip
    while True:
        choices = [_two(rng, k, values[k]) for k in list(values)[: of.constraints]]
        every = [Formula(str(_formula_of({}, p))) for p in product(*choices)]
        # narrow limits may leave nothing of what stands before them
        if len({tuple(f(x) for x in range(-20, 21)) for f in every}) == len(every):
            break
        small = [int(n) for n in rng.permutation(np.arange(2, 9))]
        values |= {"scale": small[:2], "shift": small[2:4]}
    return [choices[int(i)] for i in rng.permutation(len(choices))], {}


_CHOICES: Mapping[FamilyName, Callable[[Level, np.random.Generator], tuple[list[list[Part]], dict[str, Any]]]] = {
    "table": _table_choices, "record": _record_choices, "formula": _formula_choices,
}  # fmt: skip


def revised(task: Task, j: int, now: Part) -> Task:
    """The task once its constraint ``j`` has been taken back."""
    return replace(task, parts=(*task.parts[:j], now, *task.parts[j + 1 :]))


def distractors(task: Task, rng: np.random.Generator, n: int) -> list[str]:
    """Sentences that name a number or a word like those of the task and have nothing to do with it."""
    out: list[str] = []
    ages = rng.permutation(np.arange(41, 90))
    for k, (kin, place) in enumerate(zip(rng.permutation(KIN)[:n], rng.permutation(PLACES)[:n], strict=True)):
        look = LOOKS["colour"][int(rng.integers(4))]
        joiner = list(JOINERS)[int(rng.integers(len(JOINERS)))]
        said = {
            "table": f"By the way, my {place} looks {look}.",
            "record": f"By the way, my {kin} likes to draw a {joiner}.",
        }.get(task.family, f"By the way, my {kin} turns {int(ages[k])} today.")
        out.append(said)
    return out
