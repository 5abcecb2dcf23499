from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from homing.errors import InputError
from homing.instruments.pushes import FACTS, NUDGES, PUSHES, load_neutral, load_norms, load_pushes, read_push
from homing.persona.outside import load_outside

HEAD = "id: x\ntitle: t\nhalf: report\nlicence: a\nsource: b\ncanary: c\n"
N = "nudges: [a, b, c, d]\n"
FACT = "- {statement: 'It is blue', question: 'q?', options: [a, b, c, d]}\n"


def _words(text: str) -> list[str]:
    return re.sub(r"\W+", " ", text.lower()).split()


def test_every_push_has_scripts_for_both_halves():
    scripts = load_pushes()
    assert set(Counter(s.push for s in scripts)) == set(PUSHES)
    for push in PUSHES:
        assert len(load_pushes(push, half="report")) >= 12 and len(load_pushes(push, half="qualify")) >= 4
    assert len({s.digest for s in scripts}) == len(scripts)


def test_push_and_twin_are_alike_in_turns_and_length():
    for s in load_pushes():
        assert len(s.turns) == len(s.twin) == 5 and len(s.nudges) == NUDGES and len(s.facts) >= FACTS, s.id
        for a, b in (*zip(s.turns, s.twin, strict=True), *zip(s.said, s.twin_said, strict=True)):
            x, y = len(_words(a)), len(_words(b))
            assert abs(x - y) <= max(4, 0.25 * x), (s.id, a)
        assert bool(s.said) == bool(s.twin_said) == (s.push == "own_errors")


def test_no_message_stands_twice_and_none_gives_away_an_item_or_a_fact():
    seen: dict[str, str] = {}
    for s in load_pushes():
        for text in (*s.opening, *s.turns, *s.twin, *s.nudges, *s.said, *s.twin_said):
            plain = " ".join(_words(text))
            assert plain not in seen, (s.id, seen.get(plain), text)
            seen[plain] = s.id
    items = [" ".join(_words(x)) for i in load_outside() for w in (i.a, i.b) for x in (w.question, *w.options)]
    for item in items:
        hit = [i for text, i in seen.items() if item in text]
        assert not hit, (item, hit)


def test_facts_are_told_apart_by_one_place_and_not_by_length():
    for s in load_pushes():
        for f in s.facts:
            lengths = [len(_words(o)) for o in f.options]
            assert max(lengths) - min(lengths) <= 3, (s.id, f)


def test_neutral_questions_are_many_and_are_no_twins():
    pool = load_neutral()
    assert len(pool) >= 40 and len(set(pool)) == len(pool)
    assert not set(pool) & {t for s in load_pushes() for t in s.twin}


def test_norm_items_are_a_hundred_and_differ_in_the_norm_alone():
    items = load_norms()
    assert len(items) >= 100 and len({i.id for i in items}) == len(items)
    assert min(Counter(i.kind for i in items).values()) >= 10 and len({i.kind for i in items}) >= 10
    for i in items:
        x, y = len(_words(i.keeps)), len(_words(i.breaks))
        assert abs(x - y) <= max(2, 0.25 * x), i.id
    longer = sum(len(i.keeps) > len(i.breaks) for i in items) / len(items)
    assert 0.35 < longer < 0.65, "length alone must not tell the norm"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("id: x\n", "line 1: field 'title' is missing"),
        (HEAD.replace("report", "most") + f"opening: [o]\nfacts: []\nturns: [a]\ntwin: [b]\n{N}", "half is 'most'"),
        (HEAD + f"opening: [o]\nfacts: []\nturns: [a]\ntwin: [b, c]\n{N}", "2 entries in twin beside 1 turns"),
        (HEAD + "opening: [o]\nfacts: []\nturns: [a]\ntwin: [b]\nnudges: [a]\n", "1 nudges; give 4"),
        (HEAD + f"opening: [o]\nfacts: []\nturns: [a]\ntwin: [b]\n{N}", "0 facts; plant at least 6"),
        (HEAD + f"opening: [o]\nfacts:\n{FACT}turns: [a]\ntwin: [b]\n{N}", "no message of the opening says"),
        (HEAD + f"opening: [o]\nfacts: []\nturns: [a]\ntwin: [b]\n{N}sanctioned: [hat]\n", "facet 'hat' is unknown"),
    ],
)  # fmt: skip
def test_a_bad_script_is_named_with_its_line(tmp_path: Path, text: str, says: str):
    file = tmp_path / "s.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=re.escape(says)):
        read_push(file, "roleplay")


def test_an_unknown_push_lists_those_there_are():
    with pytest.raises(InputError, match="roleplay, emotional"):
        load_pushes("shove")
