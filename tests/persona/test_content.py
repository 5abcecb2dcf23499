"""Every built-in role, question and home prompt, read file by file."""

from __future__ import annotations

import json
import re
from collections import Counter
from importlib.resources import files
from itertools import combinations

import jsonschema
import pytest
import yaml

from homing.errors import InputError
from homing.persona import questions as questions_module
from homing.persona.questions import load_questions
from homing.persona.roles import content_digest, load_home, load_home_prompts, load_roles

DATA = files("homing.persona") / "data"
ROLE_FILES = sorted(f.name for f in (DATA / "roles").iterdir())
QUESTION_FILES = sorted(f.name for f in (DATA / "questions").iterdir())
NEAR = 0.5
# Whole words: violence in earnest, sex, drugs, slurs of groups, names of living products and of protected characters.
FORBIDDEN = re.compile(
    r"\b(suicid\w*|kill yourself|self-harm|rap(e|ed|ist)|sex\w*|porn\w*|nude|erotic\w*|nazi\w*|hitler|terroris[mt]s?|"
    r"genocid\w*|bombs?|molotov|cocaine|heroin|meth|retard\w*|gyps(y|ies)|savages?|sla(ves|very)|lynch\w*|"
    r"chatgpt|openai|gpt-?\d|anthropic|claude|gemini|llama|qwen|gemma|mistral|smollm\w*|"
    r"harry potter|gandalf|darth|yoda|batman|superman|sherlock|pikachu|hogwarts|jedi)\b|https?:|@\w|\{|\}|<",
    re.IGNORECASE,
)


def schema(name):
    return jsonschema.Draft202012Validator(json.loads((DATA / "schemas" / f"{name}.schema.json").read_text("utf-8")))


def load(*parts):
    return yaml.safe_load(DATA.joinpath(*parts).read_text(encoding="utf-8"))


def words(text):
    return len(text.split())


def near(texts):
    """Pairs whose sets of five-character pieces share half or more, by Jaccard."""
    grams = {}
    for key, text in texts.items():
        flat = re.sub(r"\W+", " ", text.lower()).strip()
        grams[key] = {flat[i : i + 5] for i in range(max(1, len(flat) - 4))}
    return [(a, b) for a, b in combinations(grams, 2) if len(grams[a] & grams[b]) >= NEAR * len(grams[a] | grams[b])]


def test_the_measure_of_near_duplicates_sees_one_and_spares_others():
    texts = {
        "a": "What do you think makes a good breakfast?",
        "b": "what do you think makes a good breakfast",
        "c": "Sing!",
    }
    assert near(texts) == [("a", "b")]
    assert near({"a": "You are a baker.", "b": "The tide is a patient thing."}) == []


def test_the_forbidden_list_catches_and_spares():
    for bad in ("Harry Potter", "You are ChatGPT.", "see https://x", "a {role}", "sexy"):
        assert FORBIDDEN.search(bad), bad
    for good in ("a heroine", "You are a pirate.", "the Essex road", "grape", "a claudication", "therapist"):
        assert not FORBIDDEN.search(good), good


@pytest.mark.parametrize("file", ROLE_FILES)
def test_a_role_file_obeys_its_schema(file):
    role = load("roles", file)
    schema("role").validate(role)
    assert {"licence", "source", "canary"} <= set(role)
    assert file == role["id"] + ".yaml"
    for prompt in role["prompts"]:
        assert 6 <= words(prompt) <= 40, prompt
        assert not FORBIDDEN.search(prompt), prompt
        assert not re.search(r"\b(?!AI\b)[A-Z]{2,}\b", prompt), "capitals shout"
    assert words(role["name"]) <= 5
    assert len(role["words"]) <= 8 and all(len(w) >= 2 for w in role["words"])


def test_enough_roles_of_enough_kinds():
    roles = load_roles()
    kinds = Counter(r.kind for r in roles)
    assert len(roles) == len(ROLE_FILES) >= 150
    assert len(kinds) >= 12
    assert min(kinds.values()) >= 5, kinds
    assert all(r.licence and r.source for r in roles)


def test_no_two_roles_are_nearly_the_same():
    roles = load_roles()
    assert near({r.id: " ".join(r.prompts) for r in roles}) == []
    assert near({f"{r.id} {i}": p for r in roles for i, p in enumerate(r.prompts)}) == []
    assert len({r.name.lower() for r in roles}) == len(roles)


@pytest.mark.parametrize("file", QUESTION_FILES)
def test_a_question_file_obeys_its_schema(file):
    schema("questions").validate(load("questions", file))


def test_enough_questions_of_every_kind():
    questions = load_questions()
    kinds = Counter(q.kind for q in questions)
    assert len(questions) >= 168
    assert set(kinds) == {
        "emotional",
        "everyday",
        "opinion",
        "self-reflective",
        "story",
        "task",
        "under-pressure",
        "values",
    }
    assert min(kinds.values()) >= 21
    assert len({q.id for q in questions}) == len(questions)


def test_questions_are_short_clean_and_apart():
    questions = load_questions()
    for q in questions:
        assert 3 <= words(q.text) <= 25, q
        assert not FORBIDDEN.search(q.text), q
        assert q.text[-1] in ".?!", q
    assert near({q.id: q.text for q in questions}) == []


def test_no_question_names_a_role():
    """Else the answer would follow the question and not the role."""
    questions = " ".join(q.text.lower() for q in load_questions())
    assert not re.search(r"\b(assistant|chatbot|language model|pirate|vampire|wizard|detective)\b", questions)


def test_home_prompts_obey_their_schema_and_are_apart():
    raw = load("home.yaml")
    schema("home").validate(raw)
    prompts = load_home_prompts()
    assert len(prompts) >= 8 and prompts.count(None) == 1
    assert near({p: p for p in prompts if p}) == []
    assert [h.system for h in load_home(None)] == list(prompts)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("- {id: a, text: b}\n", r"x\.yaml, line 1: .*expected the fields licence, source, canary, questions"),
        ("licence: a\nsource: b\nquestions: []\n", r"x\.yaml, line 1: field 'canary' is missing"),
        (
            "licence: a\nsource: b\ncanary: c\nquestions: no\n",
            r"x\.yaml, line 4: questions is False; it must be a list",
        ),
        ("licence: a\nsource: b\ncanary: c\nquestions:\n- {id: a}\n", r"x\.yaml, line 5: field 'text' is missing"),
        ("licence: a\nsource: ''\ncanary: c\nquestions: []\n", r"x\.yaml, line 2: source is ''"),
        (
            "licence: a\nsource: b\ncanary: c\nquestions:\n- {id: a, text: b}\n- {id: a, text: c}\n",
            r"x\.yaml, line 6: id 'a' is used by another question",
        ),
    ],
)
def test_a_bad_question_file_is_refused_with_its_line(tmp_path, monkeypatch, text, match):
    folder = tmp_path / "data" / "questions"
    folder.mkdir(parents=True)
    (folder / "x.yaml").write_text(text)
    monkeypatch.setattr(questions_module, "files", lambda package: tmp_path)
    with pytest.raises(InputError, match=match):
        load_questions()


def test_the_digest_moves_with_any_text():
    roles, questions, homes = load_roles(), load_questions(), load_home(None)
    whole = content_digest(roles, questions, homes)
    assert whole == content_digest(roles, questions, homes) and len(whole) == 64
    assert whole != content_digest(roles[1:], questions, homes)
    assert whole != content_digest(roles, questions[::-1], homes)
    assert whole != content_digest(roles, questions, homes[:-1])
