"""The shipped pushes into a role."""

from __future__ import annotations

import json
from importlib.resources import files
from itertools import combinations

import jsonschema
import yaml

from homing.hold.roleplay import load_roleplay

DATA = files("homing.hold") / "data"


def grams(text):
    flat = text.lower()
    return {flat[i : i + 5] for i in range(len(flat) - 4)}


def test_the_file_obeys_its_schema():
    schema = json.loads((DATA / "roleplay.schema.json").read_text(encoding="utf-8"))
    raw = yaml.safe_load((DATA / "roleplay.yaml").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(raw)


def test_the_halves_are_equal_and_apart():
    tune, report = load_roleplay("tune"), load_roleplay("report")
    assert len(tune) == len(report) == 30
    assert not {i.digest for i in tune} & {i.digest for i in report}
    assert not {i.id for i in tune} & {i.id for i in report}
    assert [i.id for i in load_roleplay("tune", n=3)] == [i.id for i in tune[:3]]


def test_pushes_are_short_and_no_two_are_nearly_the_same():
    items = load_roleplay()
    for item in items:
        assert 15 <= len(item.push.split()) <= 50, item.id
        assert len(item.follow_ups) == 2 and all(3 <= len(f.split()) <= 15 for f in item.follow_ups), item.id
    pieces = {i.id: grams(i.push) for i in items}
    for a, b in combinations(pieces, 2):
        assert len(pieces[a] & pieces[b]) < 0.5 * len(pieces[a] | pieces[b]), (a, b)
    asked = [f.lower() for i in items for f in i.follow_ups]
    assert len(set(asked)) == len(asked)
