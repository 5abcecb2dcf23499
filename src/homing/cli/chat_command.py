"""``homing chat``: a terminal conversation with a meter."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from homing.cli.output import need_identity, plain
from homing.cli.settings import chosen_model, load_settings, opening, opening_options
from homing.errors import HomingError

if TYPE_CHECKING:
    from rich.console import Console

    from homing.verbs.chat import ChatSession

WIDTH = 41
REACH = 2.0


def meter(value: float | None) -> str:
    """A bar with a mark where the model stands: 1 (home) is the right notch, 0 (the mean role) the left one.

    Args:
        value: position; beyond the bar's ends, -2 and 2, it stays at the end. None draws an empty bar.
    """
    cells = ["─"] * WIDTH
    for notch, sign in ((0.0, "┼"), (1.0, "⌂")):
        cells[_cell(notch)] = sign
    if value is None or value != value:
        return "".join(cells) + "   not read"
    cells[_cell(value)] = "●"
    return f"{''.join(cells)}  {value:+6.2f}"


def _cell(value: float) -> int:
    return round((max(-REACH, min(REACH, value)) / REACH + 1) / 2 * (WIDTH - 1))


def show_reply(console: Console, events: Iterable[Mapping[str, Any]]) -> None:
    """Print one reply as it comes, with the meter of each token below it, then the turn's own line, alarms and warnings."""
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    text, value = "", None
    turn: Mapping[str, Any] = {}
    with Live(console=console, refresh_per_second=12, transient=False) as live:
        for event in events:
            kind = event.get("kind")
            if kind == "token":
                text += plain(str(event["text"]))
            elif kind == "reading":
                value = event["value"]
            elif kind == "done":
                turn = event
            live.update(Group(Text(text), Text(meter(value), style="dim")))
    if "position" in turn:
        drift = "" if turn.get("drift") is None else f"   drift {turn['drift']:+.2f}"
        console.print(Text(f"turn {meter(turn['position'])}{drift}", style="cyan"))
    for alarm in turn.get("alarms", ()):
        told = f"alarm: {alarm['detector']}, {alarm['statistic']:.2f} past {alarm['threshold']:.2f}"
        console.print(Text(told, style="bold red"))
    for sentence in turn.get("warnings", ()):
        console.print(Text(f"warning: {sentence}", style="yellow"))


def _step(console: Console, session: ChatSession, said: str) -> None:
    """One line of the user: a command, or something said."""
    from rich.text import Text

    if said in ("/hold on", "/hold off"):
        session.hold = "cap" if said.endswith("on") else None
        console.print(Text("held by the cap" if session.hold else "not held", style="dim"))
    elif said == "/home":
        session.home()
        console.print(Text("a new conversation, from home", style="dim"))
    elif said.startswith("/"):
        console.print(Text("commands: /hold on, /hold off, /home, /quit", style="dim"))
    else:
        with contextlib.closing(session.send(said)) as events:
            show_reply(console, events)


@click.command(name="chat")
@click.argument("model", required=False)
@click.option("--identity", type=click.Path(path_type=Path), help="Directory written by homing map.")
@click.option("--hold", type=click.Choice(["cap"]), help="Start held.")
@opening_options
def command(
    model: str | None,
    identity: Path | None,
    hold: str | None,
    engine: str | None,
    dtype: str | None,
    threads: int | None,
    slots: int | None,
    layers: str | None,
) -> None:
    """Talk to MODEL with a live meter a token and a turn.

    Inside: /hold on, /hold off, /home starts again from home, /quit. Nothing is saved.
    """
    from rich.console import Console
    from rich.text import Text

    from homing.verbs.chat import ChatSession

    settings = load_settings(model=model, identity=identity, engine=engine, dtype=dtype, threads=threads, slots=slots)
    directory = need_identity(settings["identity"])
    console = Console()
    with ChatSession(chosen_model(settings), directory, hold, **opening(settings, layers)) as session:
        console.print(Text("⌂ is home (1), ┼ the mean role (0). /hold on|off, /home, /quit", style="dim"))
        while True:
            try:
                said = console.input("you> ").strip()
            except EOFError:
                return
            if said == "/quit":
                return
            try:
                if said:
                    _step(console, session, said)
            except HomingError as e:  # of this line alone: what was said before it still stands
                console.print(Text(f"error: {plain(str(e))}", style="bold red"))
