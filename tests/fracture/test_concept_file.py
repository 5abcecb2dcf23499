from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from homing.errors import InputError
from homing.fracture.concept_file import example_concepts, read_concepts


def sound() -> dict[str, Any]:
    return {"concepts": [c.to_json() for c in example_concepts(prompts=16)]}


def test_the_example_is_read_as_it_was_made_and_dealt_by_seed(tmp_path: Path):
    (tmp_path / "c.json").write_text(json.dumps(sound()))
    assert read_concepts(tmp_path / "c.json") == example_concepts(prompts=16)
    assert example_concepts(seed=1) != example_concepts() == example_concepts()
    praise, animal = example_concepts()
    assert len(praise.contexts) == len(animal.contexts) == 4 and len(praise) == 256
    for c in (praise, animal):
        for good, bad in c.contexts.values():
            assert len(set(good)) == len(good) >= 16 and not set(good) & set(bad)


def edited(path: list[Any], value: Any) -> dict[str, Any]:
    found: Any = sound()
    at = found
    for k in path[:-1]:
        at = at[k]
    at[path[-1]] = value
    return found


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ({"concepts": {}}, "a list"),
        ({"concepts": []}, "names no concept"),
        ({"concepts": [3]}, "concept 1 is not an object"),
        (edited(["concepts", 0, "wat"], 1), "unknown key 'wat'; known are chat, contexts, name, options"),
        (edited(["concepts", 0, "name"], " "), "name must be"),
        (edited(["concepts", 0, "options"], [" a", " a"]), "options must be two different texts"),
        (edited(["concepts", 0, "contexts"], {"one": {}}), "at least two names"),
        (edited(["concepts", 0, "chat"], "yes"), "chat must be true or false"),
        (edited(["concepts", 1, "name"], "praise"), "give each a name of its own"),
        (edited(["concepts", 0, "contexts", "film"], {"positive": []}), "context 'film' must have the two keys"),
        (
            edited(["concepts", 0, "contexts", "film", "positive"], ["a", "b"]),
            "2 different prompts of 2; give 16 to 512",
        ),
        (edited(["concepts", 0, "contexts", "film", "positive"], ["a"] * 16), "1 different prompts of 16"),
        (edited(["concepts", 0, "contexts", "film", "positive"], [""] * 16), "texts of 1 to 4000 characters"),
        (
            edited(
                ["concepts", 0, "contexts", "film"],
                {"positive": [str(i) for i in range(16)], "negative": [str(i) for i in range(15, 31)]},
            ),
            "'15' is in both classes",
        ),
    ],
    ids=lambda x: x if isinstance(x, str) and len(x) < 60 else "",
)
def test_a_bad_file_is_one_sentence(raw: Any, says: str, tmp_path: Path):
    (tmp_path / "c.json").write_text(raw if isinstance(raw, str) else json.dumps(raw))
    with pytest.raises(InputError, match=says.replace("(", r"\(")) as e:
        read_concepts(tmp_path / "c.json")
    assert "c.json" in str(e.value) and "\n" not in str(e.value)


def test_a_missing_or_huge_file_is_one_sentence(tmp_path: Path):
    with pytest.raises(InputError, match="cannot be read"):
        read_concepts(tmp_path / "none.json")
    (tmp_path / "huge.json").write_bytes(b" " * (4 * 2**20 + 1))
    with pytest.raises(InputError, match="bytes; a concept file may have"):
        read_concepts(tmp_path / "huge.json")
