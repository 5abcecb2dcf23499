"""Tasks that can be said bit by bit, with exact scorers: sums in words, table filters, records, formulas in a small language.

A task is an intent and ``k`` constraints, one sentence each, whose order does not matter: so it is ``k + 1`` shards. All of its
text is written and read here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

from homing.instruments.lost_formula import Formula

__all__ = ["FAMILIES", "LEVELS", "FamilyName", "Level", "LevelName", "Part", "Task", "attempt", "heard", "revision"]

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


_SAID = {
    "get": "I get {v} more.", "give": "I give {v} away.",
    **dict.fromkeys(LOOKS, "It is {v}."),
    "joiner": "Join them with a {v}.", "order": "Put the {v} first.", "case": "Write the name in {v}.",
    "ending": "End the line with a {v}.",
    "scale": "It takes x times {v}.", "shift": "It adds {v}.", "cap": "It is never over {v}.", "floor": "It is never under {v}.",
}  # fmt: skip
LOOK_OF = {v: k for k, values in LOOKS.items() for v in values}


def _pattern(kind: str, values: str) -> re.Pattern[str]:
    return re.compile(rf"\b{_SAID[kind].removesuffix('.').format(v=f'({values})')}\b", re.I)


_HEARD: Mapping[FamilyName, Mapping[str, re.Pattern[str]]] = {
    "sum": {k: _pattern(k, r"\d+") for k in ("get", "give")},
    "table": {"look": _pattern("colour", "|".join(LOOK_OF))},
    "record": {k: _pattern(k, "|".join(values)) for k, values in STYLES.items()},
    "formula": {k: _pattern(k, r"\d+") for k in ("scale", "shift", "cap", "floor")},
}
_WRONG = "Sorry, I was wrong about one thing: {now}, not {before}."
_REVISED = re.compile(r"Sorry, I was wrong about one thing: (.+?), not ([\w ]+)\.", re.I)
ROW = re.compile(r"^([A-Z]): ([a-z, ]+)$", re.M)
LISTED = re.compile(r"^\W*One of these: (.+)$", re.M)
_NUMBER = re.compile(r"(?<![\w.])-?\d{1,6}(?![\w]|\.\d)")
_ASKED = re.compile(r"[^.!?\n]*\?")


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
        return ANSWERS[self.family](self.setting, self.parts)

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
    plain = LISTED.sub("", ROW.sub("", plain))
    parts = [p for p, _ in sorted(_parts(family, plain), key=lambda x: x[1])]
    for said, before in changes:
        for (kind, now), _ in _parts(family, said):
            old = {str(v) for v in (before, before.lower())}
            at = [i for i, (k, v) in enumerate(parts) if k == kind and str(v) in old]
            parts = [(kind, now) if i in at else p for i, p in enumerate(parts)] if at else [*parts, (kind, now)]
    return Task(family, setting, tuple(dict.fromkeys(parts)))


def _setting(text: str) -> tuple[FamilyName | None, dict[str, Any]]:
    listed = LISTED.search(text)
    options: dict[str, Any] = {"options": listed[1].strip().split(" | ") if listed else list[str]()}
    options |= {"listed": True} if listed else {}
    start, noun = re.search(r"start with (\d+)", text), re.search(r"How many (\w+) do I have", text)
    if start and noun:
        return "sum", {"start": int(start[1]), "noun": noun[1], "options": list(range(10))}
    rows = ROW.findall(text)
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
            out.append(((LOOK_OF.get(said, kind), int(said) if said.isdigit() else said), m.start()))
    return out


# Answers


def sum_of(setting: Mapping[str, Any], parts: Sequence[Part]) -> str:
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


def formula_of(setting: Mapping[str, Any], parts: Sequence[Part]) -> str | None:
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


ANSWERS: Mapping[FamilyName, Callable[[Mapping[str, Any], Sequence[Part]], str | None]] = {
    "sum": sum_of, "table": _row_of, "record": _line_of, "formula": formula_of,
}  # fmt: skip


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
