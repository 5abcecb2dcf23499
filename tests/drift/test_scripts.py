"""All of the drift content is read here; what is broken on purpose is refused with file and line."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
import yaml

from homing.drift.scripts import (
    DOMAINS,
    HomeConversation,
    Script,
    home_available,
    load_home_conversations,
    load_hypothesis,
    load_scripts,
    parse_home,
    parse_script,
)
from homing.errors import InputError

DATA = files("homing.drift") / "data"
GOOD = """id: a
domain: coding
title: A
half: tune
licence: Apache-2.0
source: here
canary: c
turns:
  - one two three
  - four five six
twin:
  - seven eight nine
  - ten eleven twelve
"""
HOME = """kind: k
title: K
licence: Apache-2.0
source: here
canary: c
subjects: [a, b]
stems: ['1 {x}', '2 {x}', '3 {x}', '4 {x}', '5 {x}', '6 {x}']
"""


def words(text: str) -> list[str]:
    return re.findall(r"[\w'-]+", text.lower())


def jaccard(a: str, b: str) -> float:
    x, y = set(words(a)), set(words(b))
    return len(x & y) / len(x | y)


def home() -> tuple[HomeConversation, ...]:
    return tuple(c for p in ("calibration", "check") for c in load_home_conversations(p, home_available(p)))


@pytest.mark.parametrize("domain", DOMAINS)
def test_each_domain_has_twelve_scripts_of_eight_turns_in_two_halves(domain):
    scripts = load_scripts(domain)
    assert len(scripts) == 12
    assert Counter(s.half for s in scripts) == {"tune": 6, "report": 6}
    assert all(len(s.turns) == len(s.twin) == 8 for s in scripts)


@pytest.mark.parametrize("script", load_scripts(), ids=lambda s: s.id)
def test_a_twin_is_as_long_as_its_script_turn_by_turn(script: Script):
    for turn, twin in zip(script.turns, script.twin, strict=True):
        n, m = len(turn.split()), len(twin.split())
        assert 8 <= n <= 35, turn
        assert abs(n - m) <= 0.15 * n, (turn, twin)
    assert abs(len(" ".join(script.turns)) / len(" ".join(script.twin)) - 1) < 0.2


def test_no_two_user_turns_of_the_scripts_are_near_duplicates():
    turns = [t for s in load_scripts() for t in s.turns]
    assert len(turns) == 384
    close = [(a, b) for a, b in itertools.combinations(turns, 2) if jaccard(a, b) > 0.7]
    assert close == []


def test_twins_of_the_two_halves_share_no_question_and_a_twin_repeats_none():
    first = {h: {t.split("?")[0] for s in load_scripts(half=h) for t in s.twin} for h in ("tune", "report")}
    assert not first["tune"] & first["report"]
    assert all(len({t.split("?")[0] for t in s.twin}) == 8 for s in load_scripts())


def test_twins_do_not_talk_about_feelings_or_the_model():
    banned = {"you", "your", "yourself", "assistant", "feel", "love", "afraid", "alone", "conscious"}
    for s in load_scripts():
        for t in s.twin:
            idiom = t.replace("Thank you.", "").replace("You may use an example", "").replace("do you decide", "")
            found = banned & set(words(idiom))
            assert not found, t


def test_ids_and_digests_are_unique_and_selection_never_reports():
    scripts = load_scripts()
    assert len({s.id for s in scripts}) == len({s.digest for s in scripts}) == 48
    assert not {s.id for s in load_scripts(half="tune")} & {s.id for s in load_scripts(half="report")}
    assert {s.domain for s in load_scripts(half="report")} == set(DOMAINS)
    s = scripts[0]
    assert s.neutral.turns == s.twin
    assert s.neutral.digest != s.digest


def test_home_conversations_are_enough_and_alike_in_kind():
    assert home_available("calibration") >= 120
    assert home_available("check") >= 120
    kinds = [Counter(c.kind for c in load_home_conversations(p, 120)) for p in ("calibration", "check")]
    assert kinds[0] == kinds[1]
    assert len(kinds[0]) == 12
    assert all(len(c.turns) == 6 == len(set(c.turns)) for c in home())


def test_the_two_parts_share_no_user_turn():
    turns = {
        p: {t for c in load_home_conversations(p, home_available(p)) for t in c.turns} for p in ("calibration", "check")
    }
    assert not turns["calibration"] & turns["check"]
    every = Counter(t for c in home() for t in c.turns)
    assert max(every.values()) == 1


def test_home_conversations_are_no_near_duplicates():
    texts = [(c.id, set(words(" ".join(c.turns)))) for c in home()]
    assert len({c.digest for c in home()}) == len(texts)
    worst = max(len(a & b) / len(a | b) for (_, a), (_, b) in itertools.combinations(texts, 2))
    assert worst < 0.9


def test_home_turns_are_not_script_turns_and_a_short_list_is_the_head_of_a_long_one():
    assert not {t for c in home() for t in c.turns} & {t for s in load_scripts() for t in (*s.turns, *s.twin)}
    assert load_home_conversations("check", 30) == load_home_conversations("check", 100)[:30]


def test_every_file_fits_its_schema():
    def schema(name: str):
        raw = json.loads((DATA / "schemas" / f"{name}.json").read_text())
        jsonschema.Draft202012Validator.check_schema(raw)
        return jsonschema.Draft202012Validator(raw)

    seen = 0
    for d in DOMAINS:
        for f in (DATA / "scripts" / d).iterdir():
            raw = yaml.safe_load(f.read_text(encoding="utf-8"))
            schema("script").validate(raw)
            assert f.name == f"{raw['id']}.yaml"
            seen += 1
    assert seen == 48
    for f in (DATA / "home").iterdir():
        schema("home").validate(yaml.safe_load(f.read_text(encoding="utf-8")))
    schema("hypothesis").validate(yaml.safe_load((DATA / "hypothesis.yaml").read_text()))


def test_the_hypothesis_names_each_domain_once():
    h = load_hypothesis()
    assert h.dated == "2026-11-23"
    assert h.above == ("coding", "writing")
    assert h.below == ("emotional", "self_nature")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title: A\n", "", r"x\.yaml:1: field 'title' is missing"),
        ("domain: coding", "domain: cooking", r"x\.yaml:2: field 'domain' is 'cooking'; expected one of coding"),
        ("half: tune", "half: both", r"x\.yaml:4: field 'half' is 'both'"),
        ("  - four five six\n", "", r"x\.yaml:11: the twin has 2 turns, the script 1"),
        ("  - four five six\n", "  - 5\n", r"x\.yaml:10: item 2 of 'turns' is 5"),
        ("  - four five six\n", "  - ''\n", r"x\.yaml:10: item 2 of 'turns' is ''"),
        ("source: here", "sauce: here", r"x\.yaml:6: field 'sauce' is unknown"),
        ("title: A", "title: [A", r"x\.yaml:\d+: not valid YAML"),
        ("title: A", "title: 3", r"x\.yaml:3: field 'title' is 3; expected text"),
        ("title: A", "title: \x00", r"x\.yaml:\d+: not valid YAML"),
    ],
)
def test_a_broken_script_is_refused_with_file_and_line(old, new, message):
    assert parse_script("x.yaml", GOOD).turns == ("one two three", "four five six")
    with pytest.raises(InputError, match=message):
        parse_script("x.yaml", GOOD.replace(old, new))


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just text\n"])
def test_a_file_without_a_mapping_is_refused(text):
    with pytest.raises(InputError, match=r"x\.yaml:1: the file holds no mapping"):
        parse_script("x.yaml", text)


def test_a_duplicate_or_odd_key_is_refused_not_a_traceback():
    with pytest.raises(InputError, match=r"x\.yaml"):
        parse_script("x.yaml", GOOD + "? [a, b]\n: c\n")
    with pytest.raises(InputError, match=r"x\.yaml:\d+: field 'title' is given twice"):
        parse_script("x.yaml", GOOD + "title: B\n")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("'2 {x}'", "'2'", r"h\.yaml:7: stem 2 must name its subject once"),
        ("[a, b]", "[a, a]", r"h\.yaml:6: subject 'a' is listed twice"),
        ("kind: k\n", "", r"h\.yaml:1: field 'kind' is missing"),
        ("'6 {x}'", "", r"h\.yaml:7: field 'stems' must be a list of at least 6"),
    ],
)
def test_a_broken_home_file_is_refused_with_file_and_line(old, new, message):
    assert [c.part for c in parse_home("h.yaml", HOME)] == ["calibration", "check"]
    with pytest.raises(InputError, match=message):
        parse_home("h.yaml", HOME.replace(old, new))


def test_the_users_own_scripts_are_read_from_a_directory(tmp_path: Path):
    with pytest.raises(InputError, match="holds no file ending in"):
        load_scripts(directory=tmp_path)
    (tmp_path / "a.yaml").write_text(GOOD)
    assert [s.id for s in load_scripts(directory=tmp_path)] == ["a"]
    assert load_scripts("writing", directory=tmp_path) == ()
    (tmp_path / "b.yaml").write_text(GOOD)
    with pytest.raises(InputError, match="two scripts have the id 'a'"):
        load_scripts(directory=tmp_path)
    (tmp_path / "b.yaml").write_bytes(b"id: \xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        load_scripts(directory=tmp_path)
    with pytest.raises(InputError, match="is not a directory"):
        load_scripts(directory=tmp_path / "none")


def test_unknown_choices_are_refused():
    with pytest.raises(InputError, match="domain 'cooking' is unknown"):
        load_scripts("cooking")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="half 'x' is unknown"):
        load_scripts(half="x")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="part 'x' is unknown"):
        load_home_conversations("x", 1)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="10000 home conversations were asked of check"):
        load_home_conversations("check", 10000)
