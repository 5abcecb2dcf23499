"""Home as a concept: replies drawn from a known persona space, and an identity whose map kept them."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from homing.cli.fracture_concept import command
from homing.errors import InputError
from homing.fracture.concept_contexts import LEAST
from homing.fracture.concept_map import FAMILIES, by_question, by_role, concept_section, judge_home, table
from homing.identity import Identity, Section
from homing.identity.work import Unit, WorkDir
from homing.persona.plan import PRESETS, Design, Preset, design_cells
from homing.persona.questions import load_questions
from homing.persona.roles import load_home, load_roles
from homing.persona.rollouts import UNIT_ROWS, Replies
from homing.verbs.card import card, findings_of
from homing.verbs.concept import concept, concept_text, design_of, kept_replies
from tests.cli.schemas import validate

HIDDEN, LAYERS, LAYER = 24, 2, 1
STANDARD = PRESETS["standard"]


def made(preset: Preset = STANDARD, seed: int = 0) -> Design:
    return design_cells(load_roles(), load_questions(), load_home(None), preset=preset, seed=seed)


def vectors(design: Design, *, pieces: bool, seed: int = 0) -> np.ndarray:
    """Means of every reply, ``(cells, layers, hidden)``; in pieces, home lies elsewhere in every second kind of question."""
    rng = np.random.default_rng(seed)
    home = np.linalg.qr(rng.standard_normal((HIDDEN, 2)))[0].T * 3
    roles = rng.standard_normal((len(design.roles), HIDDEN)) * 0.5
    questions = rng.standard_normal((len(design.questions), HIDDEN)) * 0.5
    kinds = sorted({q.kind for q in design.questions})
    out = np.empty((len(design.cells), LAYERS, HIDDEN), np.float32)
    for i, c in enumerate(design.cells):
        other = pieces and kinds.index(design.questions[c.question].kind) % 2
        base = home[int(other)] if c.role < 0 else roles[c.role]
        out[i] = 5 + base + questions[c.question] + rng.standard_normal((LAYERS, HIDDEN))
    return out


def replies_of(design: Design, x: np.ndarray) -> Replies:
    cells = design.cells
    numbers = [np.array([getattr(c, k) for c in cells]) for k in ("role", "question", "prompt", "block")]
    n = len(cells)
    return Replies(
        x[:, LAYER : LAYER + 1], *numbers[:3], np.full(n, 9), ("t",) * n, ("length",) * n, (LAYER,), 0, 0, numbers[3]
    )


def kinds_of(design: Design) -> tuple[list[str], list[str]]:
    return [q.kind for q in design.questions], [r.kind for r in design.roles]


@pytest.fixture(scope="module")
def design() -> Design:
    return made()


def saved(directory: Path, design: Design, preset: Preset, *, pieces: bool) -> Path:
    """An identity as a map leaves it: what this reads of its sections, and the units of its replies."""
    x = vectors(design, pieces=pieces)
    persona = {
        "axis": {"read_layer": LAYER},
        "home": [h.digest for h in design.homes],
        "home_system": design.homes[0].system,
        "home_messages": [],
        "sampled": design.to_json(),
    }
    plan = {"preset": asdict(preset), "preset_name": "standard", "seed": 0}
    identity = Identity({"name": "planted", "fingerprint": "f" * 64})
    identity = identity.with_section("persona", Section(2, persona))
    identity.with_section("provenance", Section(1, {"plan": plan})).save(directory)
    with WorkDir(directory / "work", {"plan": plan}) as work:
        for r in sorted({c.round for c in design.cells}):
            cells = [c for c in design.cells if c.round == r]
            for u, start in enumerate(range(0, len(cells), UNIT_ROWS)):
                part = cells[start : start + UNIT_ROWS]
                rows = [["text", "length", 0 if c.index == 3 else 9, 20] for c in part]
                work.keep(f"replies/{r:03d}-{u:03d}", Unit(rows, {"means": x[[c.index for c in part]]}))
    return directory


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory, design: Design) -> Path:
    return saved(tmp_path_factory.mktemp("concept") / "home", design, STANDARD, pieces=True)


def test_every_kind_of_role_has_a_family():
    assert {r.kind for r in load_roles()} == set(FAMILIES)


def test_contexts_are_of_independent_prompts(design):
    questions, roles = kinds_of(design)
    replies = replies_of(design, vectors(design, pieces=False))
    good, bad = by_question(replies, questions, layer=0)
    assert {c.name for c in good} == set(questions) and not bad
    assert sum(len(c.positive) for c in good) == int(replies.home.sum())
    good, bad = by_role(replies, roles, layer=0)
    assert {c.name for c in good} == set(FAMILIES.values()) and not bad
    asked = [set(c.positive_clusters) for c in good]
    assert not set.intersection(*asked) and sum(map(len, asked)) == len(
        set.union(*asked)
    )  # no home reply in two contexts
    assert all(len(set(c.negative_clusters)) >= LEAST for c in good)


def test_one_home_is_one_and_pieces_are_found_where_they_are(design):
    """In pieces by kind of question, and of these no family of roles knows."""
    questions, roles = kinds_of(design)
    whole = replies_of(design, vectors(design, pieces=False))
    for good, bad in (by_question(whole, questions, layer=0), by_role(whole, roles, layer=0)):
        assert judge_home(good, bad, seed=0).report.verdict == "one direction"
    broken = replies_of(design, vectors(design, pieces=True))
    report = judge_home(*by_question(broken, questions, layer=0), seed=0).report
    assert report.verdict == "fractured"
    kinds = sorted(set(questions))
    same = {r["cosine"] for r in table(report) if (kinds.index(r["first"]) - kinds.index(r["second"])) % 2 == 0}
    other = {r["cosine"] for r in table(report) if (kinds.index(r["first"]) - kinds.index(r["second"])) % 2}
    assert min(same) > max(other)


def test_a_small_map_is_refused_with_the_reason():
    small = made(PRESETS["smoke"])
    replies = replies_of(small, vectors(small, pieces=False))
    good, bad = by_question(replies, kinds_of(small)[0], layer=0)
    found = judge_home(good, bad, seed=0)
    assert found.report.verdict == "refused" and "map with a larger preset" in found.report.reasons[0]
    assert "independent prompts" in found.left_out["emotional"]
    section = concept_section({"questions": found}, layer=1, seed=0)
    assert section.data["findings"]["concept.questions"]["regime"] == "not_measurable"
    json.dumps(section.data, allow_nan=False)


def test_the_replies_of_a_map_are_read_back(identity, design):
    replies = kept_replies(identity / "work", design_of(Identity.load(identity)), layer=LAYER)
    want = replies_of(design, vectors(design, pieces=True))
    assert len(replies) == len(want) - 1  # an empty reply has no vector
    np.testing.assert_array_equal(replies.means[4:], want.means[5:])
    np.testing.assert_array_equal(replies.block[4:], want.block[5:])


def test_the_command_says_it_to_programs_and_to_people(identity):
    before = (identity / "identity.json").read_bytes()
    done = CliRunner().invoke(command, [str(identity), "--json", "--no-write"])
    assert done.exit_code == 0, done.output
    assert (identity / "identity.json").read_bytes() == before
    found = json.loads(done.output)
    validate("fracture-concept", found)
    assert found["layer"] == LAYER
    assert found["by"]["questions"]["verdict"] == "fractured"
    assert found["findings"]["concept.questions"]["regime"] == "measured"
    assert len(found["tables"]["questions"]) == 28
    text = concept_text(found)
    assert (
        text.startswith("home over kinds of questions, layer 1: FRACTURED") and "where one direction would show" in text
    )


def test_the_verdicts_go_on_the_card_and_take_the_place_of_earlier_ones(identity, tmp_path):
    home = shutil.copytree(identity, tmp_path / "home")
    assert "concept.questions" not in findings_of(Identity.load(home))
    found = concept(home)
    assert found["identity"] == Identity.load(identity).digest, "what was judged, and not what it became"
    held = Identity.load(home)
    cards = findings_of(held)
    assert cards["concept.questions"].verdict.startswith("fractured: ") and cards["concept.roles"].estimates
    assert card(home)["concept.questions"]["value"] == found["by"]["questions"]["figures"]["cosine"]["value"]
    concept(home, seed=5)
    again = Identity.load(home)
    assert again.section("concept").data["seed"] == 5 and set(again.sections) == set(held.sections)
    concept(home)
    assert Identity.load(home).digest == held.digest, "the same again to the byte"


def test_what_is_not_there_is_said(identity, tmp_path, design):
    bare = shutil.copytree(identity, tmp_path / "bare", ignore=shutil.ignore_patterns("work"))
    with pytest.raises(InputError, match="contexts need every reply's; keep the work directory"):
        concept(bare)
    holed = shutil.copytree(identity, tmp_path / "holed")
    (holed / "work/replies/002-001.json").unlink()
    with pytest.raises(InputError, match=r"unit 002-001 .* is not there"):
        concept(holed)
    early = shutil.copytree(identity, tmp_path / "early")
    for f in (early / "work/replies").glob("004-*"):
        f.unlink()
    assert len(kept_replies(early / "work", design, layer=LAYER)) < len(design.cells)
    other = Identity.load(identity)
    persona = other.section("persona")
    sampled = {**persona.data["sampled"], "content": "0" * 64}
    other = other.with_section("persona", Section(2, {**persona.data, "sampled": sampled}))
    with pytest.raises(InputError, match=r"\(content differ\)"):
        design_of(other)
