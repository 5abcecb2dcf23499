"""Documentation: every example in it runs, every command it names exists, and what is generated is what the program says."""

from __future__ import annotations

import ast
import doctest
import importlib
import importlib.util
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest
from click.testing import CliRunner

import homing
from homing.cli.main import COMMANDS, cli
from homing.conversation import Conversation
from homing.persona.plan import Preset
from homing.persona.roles import load_home, load_roles

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    [
        *DOCS.glob("*.md"),
        *DOCS.glob("claims/*.md"),
        *(p for p in (ROOT / "README.md", ROOT / "CONTRIBUTING.md") if p.is_file()),
    ]
)
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


def blocks(page: Path, language: str) -> list[str]:
    return [body for kind, body in FENCE.findall(page.read_text("utf-8")) if kind == language]


@pytest.fixture(scope="module")
def generate() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_examples_with_a_prompt_run(page: Path) -> None:
    """All prompts of one page are one session, in the order of the page."""
    text = "\n".join(b for b in blocks(page, "python") if ">>>" in b)
    test = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    said: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert result.failed == 0, "".join(said)
    if page.name in ("quickstart.md", "api.md", "identity.md", "statistics.md", "extend.md", "hold.md"):
        assert result.attempted > 2


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_examples_without_a_prompt_compile_and_import_what_exists(page: Path) -> None:
    for block in blocks(page, "python"):
        if ">>>" in block:
            continue
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module:
                module = importlib.import_module(node.module)
                assert all(hasattr(module, a.name) for a in node.names), ast.unparse(node)


def named(page: Path) -> Iterator[list[str]]:
    """Every ``homing ...`` line of a shell block, and every one in inline code, in words."""
    text = page.read_text("utf-8")
    lines = [
        line for kind, body in FENCE.findall(text) if kind in ("sh", "bash", "console") for line in body.splitlines()
    ]
    inline = re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    for line in [*lines, *inline]:
        words = shlex.split(line.removeprefix("$ "), comments=True) if line.startswith(("homing ", "$ homing ")) else []
        if words:
            yield words[1:]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_command_and_flag_that_is_named_exists(page: Path) -> None:
    for words in named(page):
        command: click.Command = cli
        while words and isinstance(command, click.Group) and not words[0].startswith("-"):
            found = command.get_command(click.Context(command), words[0])
            assert found is not None, f"{page.name}: homing {' '.join(words)}"
            command, words = found, words[1:]
        known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help", "-h"}
        for word in words:
            flag = word.split("=")[0]
            assert not flag.startswith("--") or flag in known, f"{page.name}: {command.name} has no {flag}"


def test_the_pages_name_every_command() -> None:
    text = "\n".join(p.read_text("utf-8") for p in PAGES)
    for name in ("map", "watch", "chat", "card", "compare", "export", "report", "doctor"):
        assert f"homing {name}" in text, name


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+)(?: [a-z-]+)*:", (ROOT / "Makefile").read_text(), re.M)) | {"docs"}
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text("utf-8"), re.M):
        assert target in targets, f"{page.name}: make {target}"


def test_the_command_page_is_what_the_program_prints(generate: ModuleType) -> None:
    page = generate.cli_page()
    seen = set()
    for name, _ in generate.commands():
        words = name.split(" ")[1:]
        done = CliRunner().invoke(cli, [*words, "--help"], prog_name="homing", terminal_width=92, max_content_width=92)
        assert done.exit_code == 0
        assert done.output.strip() in page, name
        seen |= set(words[:1])
    assert seen == set(COMMANDS)


def test_generated_pages_hold_what_the_package_has(generate: ModuleType) -> None:
    page = generate.json_page()
    for name, schema in generate.schemas().items():
        assert f"## {name}\n" in page
        assert all(f"`{key}`" in page for key in schema["properties"])
    assert "`HOMING_CACHE`" in generate.settings_page()
    content = generate.content_page()
    assert f"## Roles: {len(load_roles())} of" in content
    assert all(f"| {kind} |" in content for kind in {r.kind for r in load_roles()})


def test_generated_pages_are_written_once_and_stale_ones_go(
    generate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "PAGES", {"a": lambda: "one", "gone": lambda: None})
    (tmp_path / "gone.md").write_text("old")
    first = generate.write_all(tmp_path)
    before = first[0].stat().st_mtime_ns
    generate.write_all(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.md"]
    assert first[0].stat().st_mtime_ns == before


def test_the_notebook_is_kept_without_results(generate: ModuleType) -> None:
    page = generate.notebook_page(execute=False)
    assert "Not run in this build" in page and "```text" not in page


def test_the_role_and_the_home_in_the_pages_can_be_read(tmp_path: Path) -> None:
    roles = [b for p in PAGES for b in blocks(p, "yaml") if b.startswith("id:")]
    homes = [b for p in PAGES for b in blocks(p, "yaml") if b.startswith("system:")]
    assert roles and homes
    for i, text in enumerate(roles):
        folder = tmp_path / str(i)
        folder.mkdir()
        (folder / "role.yaml").write_text(text)
        assert len(load_roles(folder)) == len(load_roles()) + 1
    for text in homes:
        (tmp_path / "home.yaml").write_text(text)
        (home,) = load_home(tmp_path / "home.yaml")
        assert home.system and home.messages


def test_the_transcript_in_the_pages_can_be_read(tmp_path: Path) -> None:
    from homing.verbs.transcripts import Transcript, read_transcripts

    (block,) = blocks(DOCS / "watch.md", "json")
    (tmp_path / "t.jsonl").write_text(block)
    (item,) = read_transcripts(tmp_path / "t.jsonl")
    assert isinstance(item, Transcript) and item.id == "support-17"


@pytest.fixture(scope="module")
def tiny_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from homing.testing.tiny import tiny_llama

    folder = tmp_path_factory.mktemp("tiny")
    model, tokenizer = tiny_llama()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_the_stabiliser_of_the_pages_holds(tiny_directory: Path) -> None:
    from homing.engine import Sampling
    from homing.hold import Stabiliser, Turn, collect, held
    from homing.models.base import Event, Intervention

    patience = runpy.run_path(str(DOCS / "stabiliser_example.py"))["STABILISERS"]["patience"]()
    assert isinstance(patience, Stabiliser)
    talk = Conversation.of("Who are you?", system="Be short.")
    sampling = Sampling(max_new_tokens=6)
    with homing.open(str(tiny_directory)) as model:
        seen: list[Event] = []
        made = model.run(collect(held(model.aio, Turn(talk, sampling), [patience]), into=seen))
        by_hand = model.reply(talk.edit(0, f"Be short.\n{patience.line}"), sampling=sampling)
    assert made.tokens == by_hand.tokens
    assert [e.hold for e in seen if isinstance(e, Intervention)] == ["patience"]


SMALL = Preset(12, 12, 4, 48, 12, False, 8, 0, 2, 0, 4, 2, 40)


def run_example(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, preset: Preset) -> str:
    """The ten lines as they stand, on a small identity made here; only the model's name may differ."""
    from homing.verbs import plan

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(plan.PRESETS, "small", preset)
    with homing.open(model) as opened:
        homing.Identity.build(opened, out="homing-demo/identity", preset="small")
    text = (DOCS / "example.py").read_text("utf-8")
    assert text.count('"smollm2"') == 1
    lines: list[str] = []
    code = compile(text.replace('"smollm2"', repr(model)), "example.py", "exec")
    exec(code, {"print": lambda *said: lines.append(" ".join(map(str, said)))})
    return "\n".join(lines)


@pytest.mark.timeout(300)
def test_the_ten_lines_run_on_a_tiny_model(
    tiny_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step with real weights, though random ones: what is printed has the right form, and means nothing."""
    said = run_example(str(tiny_directory), tmp_path, monkeypatch, SMALL)
    assert re.search(r"^free: 1 -?[\d.]+$", said, re.M)
    assert re.search(r"^held: 1 -?[\d.]+ \d+$", said, re.M)


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_ten_lines_run(smol: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = run_example("smollm2", tmp_path, monkeypatch, SMALL)
    assert re.search(r"^free: 1 -?[\d.]+$", said, re.M)
    assert re.search(r"^held: 1 -?[\d.]+ \d+$", said, re.M)


def test_hooks_fetch_nothing_and_run_what_make_check_runs() -> None:
    import yaml

    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    assert [repo["repo"] for repo in hooks["repos"]] == ["local"]
    entries = [h["entry"] for repo in hooks["repos"] for h in repo["hooks"]]
    assert all(e.startswith(".venv/bin/") for e in entries)
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for tool in ("ruff format --check", "ruff check", "pyright", "lint-imports"):
        assert f"$(BIN)/{tool}" in makefile
        assert any(e.startswith(f".venv/bin/{tool}") for e in entries), tool


def test_the_changelog_names_this_version() -> None:
    assert f"\n## {homing.__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_clients_tried_are_those_that_are_pinned() -> None:
    pinned = dict(
        line.split("==")
        for name in ("constraints.txt", "tests/gateway/clients.txt")
        for line in (ROOT / name).read_text().splitlines()
        if "==" in line
    )
    tried = re.findall(r"^\| `([\w-]+)` \| ([\d.]+) \|", (DOCS / "serve.md").read_text("utf-8"), re.M)
    assert {name for name, _ in tried} == {"openai", "inspect-ai", "llm", "litellm"}
    assert dict(tried) == {name: pinned[name] for name, _ in tried}
