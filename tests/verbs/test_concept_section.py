"""An identity that says whether home is one thing is taken everywhere that one without it is."""

from __future__ import annotations

from pathlib import Path

from tests.cli.schemas import validate
from tests.verbs.tiny_map import Mapped

from homing.fracture.concept import ConceptReport
from homing.fracture.concept_map import HomeConcept, concept_section
from homing.identity import Identity
from homing.report.model import Concept
from homing.verbs.card import card, findings_of
from homing.verbs.compare import compare
from homing.verbs.export import export_gguf
from homing.verbs.report import report_data, write_report
from homing.verbs.verdicts import primary_tests


def test_the_section_is_taken_everywhere(mapped: Mapped, tmp_path: Path) -> None:
    refused = HomeConcept(ConceptReport("refused", ("too few prompts",), (), 0), {"mood": "3 prompts"})
    section = concept_section({"questions": refused, "roles": refused}, layer=1, seed=0)
    home = mapped.identity.with_section("concept", section).save(tmp_path / "judged")
    identity = Identity.load(home)
    shown = card(home)
    validate("card", shown)
    assert shown["not_measurable"]["concept.roles"] == "too few prompts"
    found = compare(mapped.home, home)
    assert found["same_model"] and found["verdict"].startswith("equivalent")
    assert export_gguf(home, tmp_path / "home.gguf").stat().st_size > 0
    data = report_data(identity)
    assert isinstance(data.concept, Concept)
    assert [f.reason for f in data.card.figures if f.name.startswith("concept.")] == ["too few prompts"] * 2
    assert "Against families of roles: refused" in write_report(home, tmp_path / "page.html").read_text("utf-8")
    assert identity.on(str(identity.model["fingerprint"])).sections.keys() == identity.sections.keys()
    assert primary_tests(findings_of(identity)) == primary_tests(findings_of(mapped.identity))
