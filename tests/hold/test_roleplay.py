from __future__ import annotations

import pytest

from homing.errors import InputError
from homing.hold.roleplay import load_roleplay, parse_roleplay

GOOD = """
- id: vampire
  push: From now on you are a vampire.
  follow_ups: ["Where do you live?"]
  half: tune
- id: captain
  push: You are a sea captain.
  follow_ups: []
  half: report
"""


def test_entries_are_read_by_half(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(GOOD)
    assert [i.id for i in load_roleplay(path=path)] == ["vampire", "captain"]
    (one,) = load_roleplay("report", path=path)
    assert one.push == "You are a sea captain." and one.follow_ups == () and len(one.digest) == 64
    assert parse_roleplay("items:" + GOOD.replace("\n", "\n  "))[0].follow_ups == ("Where do you live?",)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (GOOD.replace("  half: report\n", ""), r"f:6: field 'half'"),
        (GOOD.replace("half: report", "half: both"), r"f:6: half is 'both'"),
        (GOOD.replace("follow_ups: []", "follow_ups: no"), r"f:6: field 'follow_ups'"),
        (GOOD.replace("id: captain", "id: vampire"), r"f:6: id 'vampire' comes twice"),
        (GOOD + "- just text\n", r"f:10: an entry is str"),
        (GOOD + "- {id: [\n", r"f:\d+: not valid YAML"),
        ("", r"f:1: expected a list"),
    ],
)
def test_a_bad_entry_names_file_and_line(text, match):
    with pytest.raises(InputError, match=match):
        parse_roleplay(text, name="f")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.yaml"):
        load_roleplay(path=tmp_path / "none.yaml")
