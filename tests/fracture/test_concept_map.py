"""Home as a concept: replies drawn from a known persona space, and an identity whose map kept them."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner

from homing.cli.fracture_concept import command
from homing.errors import IdentityError, InputError
from homing.fracture.concept import ConceptReport
from homing.fracture.concept_contexts import LEAST
from homing.fracture.concept_map import FAMILIES, HomeConcept, by_question, by_role, concept_section, judge_home, table
from homing.identity import Identity, Section
from homing.identity.work import Unit, WorkDir
from homing.persona.plan import PRESETS, Design, Preset, design_cells
from homing.persona.questions import load_questions
from homing.persona.roles import load_home, load_roles
from homing.persona.rollouts import UNIT_ROWS, Replies
from homing.report.concept_figures import MOST, concept_pairs
from homing.report.model import UNJUDGED
from homing.verbs.card import card, card_text
from homing.verbs.concept import concept, concept_text, design_of, kept_replies
from homing.verbs.report_concept import concept_view
from tests.cli.schemas import schema, validate

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


def saved(directory: Path, design: Design, preset: Preset, *, pieces: bool, name: str = "standard") -> Path:
    """An identity as a map leaves it: what this reads of its sections, and the units of its replies."""
    x = vectors(design, pieces=pieces)
    persona = {
        "card": {},
        "axis": {"read_layer": LAYER},
        "home": [h.digest for h in design.homes],
        "home_system": design.homes[0].system,
        "home_messages": [],
        "sampled": design.to_json(),
    }
    plan = {"preset": asdict(preset), "preset_name": name, "seed": 0}
    facts = {"name": "planted", "fingerprint": "f" * 64, "engine": "plain", "dtype": "float32", "layers": LAYERS}
    identity = Identity(facts, volatile={"created": "today"})
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
    found = json.loads(done.output)
    validate("fracture-concept", found)
    assert not found["written"] and (identity / "identity.json").read_bytes() == before
    assert found["identity"] == Identity.load(identity).digest
    assert found["layer"] == LAYER
    assert found["by"]["questions"]["verdict"] == "fractured"
    assert found["findings"]["concept.questions"]["regime"] == "measured"
    assert len(found["tables"]["questions"]) == 28
    text = concept_text(found)
    assert (
        text.startswith("home over kinds of questions, layer 1: FRACTURED") and "where one direction would show" in text
    )


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


def test_the_verdict_is_written_on_the_card_once(identity, tmp_path):
    home = shutil.copytree(identity, tmp_path / "home")
    before = Identity.load(home)
    unjudged = card(home)
    validate_findings(unjudged)
    assert unjudged["concept.roles"] is None
    assert "homing fracture concept" in unjudged["not_measurable"]["concept.questions"]
    assert "concept.questions  not measurable: not judged yet" in card_text(home)

    done = CliRunner().invoke(command, [str(home), "--json"])
    assert done.exit_code == 0, done.output
    found, after = json.loads(done.output), Identity.load(home)
    assert found["written"] and found["identity"] == after.digest != before.digest
    assert {k: s.digest for k, s in after.sections.items() if k != "concept"} == {
        k: s.digest for k, s in before.sections.items()
    }
    assert after.model == before.model and after.volatile == before.volatile
    shown = card(home)
    validate_findings(shown)
    for way in ("questions", "roles"):
        want = found["by"][way]["figures"]["cosine"]
        assert shown[f"concept.{way}"]["value"] == want["value"] and shown[f"concept.{way}"]["low"] == want["low"]
        assert f"concept.{way}" not in shown["not_measurable"]
        assert f"{found['by'][way]['verdict']}: {found['by'][way]['reasons'][0]}" in card_text(home)

    bytes_of = {f.name: f.read_bytes() for f in home.glob("identity.*")}
    assert concept(home)["identity"] == after.digest  # again: the same verdict, the same bytes
    assert {f.name: f.read_bytes() for f in home.glob("identity.*")} == bytes_of
    other = concept(home, seed=7)["identity"]  # another seed replaces it
    assert other != after.digest and len(Identity.load(home).sections) == len(after.sections)


def validate_findings(shown: dict) -> None:
    """What the schema of a card says of figures; a planted identity has no others."""
    rules = schema("card")
    jsonschema.Draft202012Validator({k: v for k, v in rules.items() if k != "required"}).validate(shown)


def test_other_measurements_of_the_model_stay(identity, tmp_path):
    home = shutil.copytree(identity, tmp_path / "home")
    other = Identity({"name": "planted", "fingerprint": "e" * 64}, {"persona": Section(2, {"card": {}})})
    replace(Identity.load(home), also=(other,)).save(home)
    concept(home)
    after = Identity.load(home)
    assert [i.digest for i in after.also] == [other.digest] and "concept" in after.sections


def test_a_smoke_map_is_refused_and_nothing_is_written(tmp_path):
    small = made(PRESETS["smoke"])
    home = saved(tmp_path / "home", small, PRESETS["smoke"], pieces=False, name="smoke")
    before = (home / "identity.json").read_bytes()
    with pytest.raises(InputError, match=r"preset smoke, and its replies are too few.*map with a larger preset") as e:
        concept(home)
    assert "\n" not in str(e.value)
    assert (home / "identity.json").read_bytes() == before


def test_a_refusal_of_a_larger_map_stands_on_the_card_with_its_reason(tmp_path):
    small = made(PRESETS["smoke"])
    home = saved(tmp_path / "home", small, PRESETS["smoke"], pieces=False, name="mine")
    assert concept(home)["written"]
    shown = card(home)
    assert (
        shown["concept.questions"] is None and "fewer than two contexts" in shown["not_measurable"]["concept.questions"]
    )
    assert "concept.roles      not measurable: fewer than two contexts" in card_text(home)
    view = concept_view(Identity.load(home))
    assert view.ways[0].verdict == "refused" and view.ways[0].mean is None and view.ways[0].left_out


def test_an_identity_that_was_replaced_meanwhile_is_left_alone(identity, tmp_path, monkeypatch):
    home = shutil.copytree(identity, tmp_path / "home")

    def judged(*_: object, **__: object):
        now = Identity.load(home)
        now.with_section("home", Section(1, {"another": "command"})).save(home)
        return {"questions": HomeConcept(ConceptReport("refused", ("because",), (), 16), {})}

    monkeypatch.setattr("homing.verbs.concept.judge_replies", judged)
    with pytest.raises(IdentityError, match="replaced while it was judged; nothing is written"):
        concept(home)
    assert "concept" not in Identity.load(home).sections


def test_the_page_shows_pairs_beside_their_ceiling(identity, tmp_path):
    home = shutil.copytree(identity, tmp_path / "home")
    assert concept_view(Identity.load(home)) is UNJUDGED
    found = concept(home)
    view = concept_view(Identity.load(home))
    questions, roles = view.ways
    assert questions.verdict == "fractured" and len(questions.pairs) == 28 and len(roles.pairs) == 6
    values = [p.cosine.value for p in questions.pairs]
    assert values == sorted(values) and values[0] == min(r["cosine"] for r in found["tables"]["questions"])
    chart = concept_pairs(roles)
    assert chart.count('class="beside"') == 2 * 2 * 6  # raw and ceiling of each pair, for a wide and a narrow page
    assert "one direction would show" in chart and concept_pairs(questions).count('class="beside"') == 2 * 2 * MOST
