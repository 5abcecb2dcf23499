"""A room's public names are what they say, the same from release to release, and cost nothing before they are used."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import homing

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/homing"
ROOMS = (
    "drift",
    "engine",
    "fracture",
    "hold",
    "identity",
    "instruments",
    "models",
    "persona",
    "report",
    "stats",
    "verbs",
)

# What a program may count on. A name that goes or is renamed breaks programs: say so in CHANGELOG.md, then mend this list.
PUBLIC = {
    "homing": """
        Conversation Identity Message open wrap
    """,
    "homing.cli": """
    """,
    "homing.conversation": """
        Conversation Message Role
    """,
    "homing.drift": """
        Alarm Calibration Design DetectorState HomeConversation Hypothesis Replay Script Trace TurnTrace
        alarms_of calibrate check load_home_conversations load_hypothesis load_scripts position_of
        replay_many step watch
    """,
    "homing.engine": """
        Act Direction Engine EngineInfo Gate Job MeanRead Read Result Sampling Score ScoreJob Step Stream
        ThinkMarkers
    """,
    "homing.engine.llamacpp": "GgufTokenizer LlamaEngine",
    "homing.engine.torch": """
        TorchEngine find_layers
    """,
    "homing.errors": """
        Busy EngineError HomingError IdentityError InputError Interrupted LayersError MissingExtra
        ModelError StoreError TemplateError TooLong Unsupported
    """,
    "homing.fracture": """
        ConceptReport ConceptVerdict Context Contexts Edits Genome Layer MatchedItems Network Pairs Unity
        edit_transfer entanglement feature_symmetry judge_concept load_genome matched_items unity
    """,
    "homing.gateway": """
        Deployment Key Keeper Service make_app
    """,
    "homing.hold": """
        Candidate Cap CapStabiliser Efficacy Example Fresh Heal Matched Note Recap RolePlay SelfTest Sham SystemLine
        Stabiliser Trait Tuning Turn available build collect control_directions get held load_roleplay match_controls
        trait traits tune
    """,
    "homing.identity": """
        Identity Section
    """,
    "homing.instruments": """
        Answer Arms Ask Cell HomeReturn Instrument Played PushScript ReturnPreset Scored Share load_neutral
        load_pushes not_measurable play play_cells
    """,
    "homing.models": """
        Capability ChatModel Choice DoctorReport Done Event Intervention LocalModel Lockstep Reading Reply
        ReplyRequest ScriptedModel Token TurnRead examine open_model wrap
    """,
    "homing.persona": """
        Axis Cell Design Difficulty Home JudgeGate OutsideHome OutsideItem Preset Question Replies Role Scale Selection ask
        content_digest cross_scores design_cells fit_axis gate in_role_scores load_gold load_home
        load_outside load_questions load_roles measure measure_outside opening pcs price random_splits role_vectors select_layer
        split_cosines tuning_rows
    """,
    "homing.report": """
        ReportData render write
    """,
    "homing.stats": """
        Adjusted Cost DoseResponse Equivalence Estimate Finding ParallelAnalysis Regime SplitHalf TestResult
        Threshold VarianceComponents auroc auroc_clustered benjamini_hochberg bootstrap_difference
        bootstrap_mean correlation cosine cross_validated_r2 disattenuated_cosine dprime_paired exact_binomial
        exceedance holm
        koopman least_n linear_or_quadratic mcnemar_exact mean_t newcombe_paired parallel_analysis pass_at_k pcs_for_share
        permutation_paired permutation_two_sample predicted_auroc predicted_auroc_intervals
        quantile_interval quantile_threshold ratio_of_means rogan_gladen spearman_brown split_half_cosine tost_mean
        tost_proportion two_way_bootstrap two_way_bootstrap_many two_way_t variance_components variance_share wilson
    """,
    "homing.testing": """
    """,
    "homing.testing.conformance": """
        Company SUITE Subject alone_and_in_company directions
    """,
    "homing.testing.dosed": """
        Dosed Rule after_errors false_premises last_answers second_looks secret_games sure_answers
        trained_tiers understanding unread_reasoning
    """,
    "homing.testing.families": """
        FAMILIES Family family_model family_table
    """,
    "homing.testing.planted": "AWAY DriftingSubject PlantedModel normal",
    "homing.testing.planted_calibration": "SureModel SureSubject",
    "homing.testing.planted_faithfulness": "ReasoningSubject",
    "homing.testing.planted_anchors": "AnchoredSubject",
    "homing.testing.planted_alignment_faking": "FakingSubject",
    "homing.testing.planted_lost": "BitByBit BitByBitModel",
    "homing.testing.planted_peer_preservation": "PeerSubject",
    "homing.testing.planted_monitor_gaming": "ShortcutTaker ShortcutTakerModel",
    "homing.testing.planted_presupposition": "PresupposingSubject",
    "homing.testing.planted_reflection": "ReflectingSubject Way",
    "homing.testing.planted_self_conditioning": "TotalKeeper",
    "homing.testing.planted_superposition": "GameHost HostModel",
    "homing.testing.templates": """
        Outcome PACKAGES find_templates outcome template_table
    """,
    "homing.testing.tiny_gguf": "ARCHITECTURES gguf_of write_gguf",
    "homing.testing.tiny": """
        MARKER Planted TEMPLATE planted_model tiny_llama tiny_tokenizer
    """,
    "homing.testing.upstream": """
        ANSWER Asked CUT Deed EMPTY HANG_UP OVERFLOW REFUSE Subject Upstream behind busy fails garbage late says
    """,
    "homing.testing.upstream_flow": "Flow SMOOTH events_of flowing left",
    "homing.verbs": """
        ChatSession Identity MapPlan Model Progress ReturnPlan TestPlan card_text compare_identities export_gguf
        import_foreign make_progress map_model open plan_map report_data return_model run_demo run_home run_map
        run_return run_test test_model watch_file wrap write_report
    """,
}


@pytest.mark.parametrize("module", PUBLIC)
def test_the_public_names_are_pinned(module: str) -> None:
    names = list(getattr(importlib.import_module(module), "__all__", []))
    pinned = PUBLIC[module].split()
    new, gone = sorted(set(names) - set(pinned)), sorted(set(pinned) - set(names))
    assert not (new or gone), (
        f"the public names of {module} changed: new {new}, gone {gone}; "
        "if that is meant, say so in CHANGELOG.md and change PUBLIC in tests/test_rooms.py"
    )
    assert len(names) == len(set(names)), f"__all__ of {module} names something twice"


def test_every_room_has_its_public_names_pinned() -> None:
    rooms = {f"homing.{m.name}" for m in pkgutil.iter_modules(homing.__path__) if m.ispkg}
    doubles = {f"homing.testing.{m.name}" for m in pkgutil.iter_modules([str(PACKAGE / "testing")])}
    missing = sorted((rooms | doubles | {"homing"}) - set(PUBLIC))
    assert not missing, f"the public names of {missing} are pinned nowhere; add them to PUBLIC in tests/test_rooms.py"


@pytest.mark.parametrize("room", ROOMS)
def test_public_names_are_no_modules(room: str) -> None:
    module = importlib.import_module(f"homing.{room}")
    for name in module.__all__:
        assert not isinstance(getattr(module, name), type(sys)), f"{room}.{name} is a module, not what it names"
    with pytest.raises(AttributeError, match="no attribute"):
        _ = module.nothing_of_that_name


def test_rooms_load_no_torch() -> None:
    code = "import sys\n" + "\n".join(f"import homing.{r}" for r in ROOMS) + "\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def imports_of(file: Path) -> set[str]:
    """Every module that a file names in an import, wherever it stands in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{a.name}" for a in node.names}
    return found


def test_no_room_imports_the_test_doubles() -> None:
    for file in sorted(PACKAGE.rglob("*.py")):
        if PACKAGE / "testing" not in file.parents:
            used = sorted(m for m in imports_of(file) if m.startswith("homing.testing"))
            assert not used, (
                f"{file.relative_to(ROOT)} imports {used}, which is for tests; move what it needs to a room"
            )


def test_import_rules_know_every_module() -> None:
    """A room that no contract names may import whatever it likes."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = {name.strip(" ()") for c in contracts for layer in c.get("layers", ()) for name in layer.split("|")}
    (doubles,) = (c for c in contracts if c["type"] == "forbidden")
    modules = {f"homing.{m.name}" for m in pkgutil.iter_modules(homing.__path__)} - {"homing.testing"}
    assert modules <= layers, f"{sorted(modules - layers)} lie in no layer of [tool.importlinter] in pyproject.toml"
    assert set(doubles["source_modules"]) == modules
    assert doubles["forbidden_modules"] == ["homing.testing"]
