"""The process border: parsing, exit codes, and what a person sees when something goes wrong."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from homing import __version__
from homing.config import LOG_LEVELS, log_level, no_telemetry
from homing.errors import HomingError, Interrupted

__all__ = ["COMMANDS", "cli", "main"]

# Name -> one line of help. The module of a command is imported only when it is called or asked for its own help.
COMMANDS: dict[str, str] = {
    "cache": "Show or empty the cache of models written for an engine.",
    "card": "Print what was measured about an identity.",
    "chat": "Talk to a model with a live meter of where it stands.",
    "compare": "Compare two identities.",
    "completion": "Print the shell completion script.",
    "config": "Print every setting and where its value comes from.",
    "demo": "Map, watch and hold the embedded model, and write one report.",
    "doctor": "Examine a model: layers, spans, hooks, speed.",
    "export": "Write an identity as a GGUF control vector.",
    "forget": "Delete a conversation that the gateway keeps.",
    "fracture": "Same answers, different insides: one thing or pieces?",
    "home": "Ask a model who it is at home.",
    "join": "Put identities of one model together.",
    "map": "Measure who a model is at home.",
    "recalibrate": "Calibrate alarms on the gateway's own conversations.",
    "report": "Write one HTML page about an identity.",
    "return": "Does a pushed model come back, and what brings it?",
    "serve": "Serve a model on the OpenAI wire, and keep it at home.",
    "test": "Measure claims on a model, held and not.",
    "verify-commit": "Check what a hold committed to.",
    "watch": "Read transcripts and say where the model leaves home.",
}


# Name -> what is true when the command was stopped by Ctrl-C; a stage that knows more raises Interrupted itself.
STOPPED: dict[str, str] = {
    "chat": "the conversation is not saved; run the same command again for a new one",
    "demo": "what was finished is saved; run the same command again to go on",
    "fracture": "what was finished is saved; run the same command again to go on",
    "home": "what was answered is saved; run the same command again to go on",
    "map": "what was finished is saved; run the same command again to go on",
    "return": "what was finished is saved; run the same command again to go on",
    "serve": "every turn that ended with [DONE] is kept; run the same command again to serve on",
    "test": "what was finished is saved; run the same command again to go on",
    "watch": "the lines printed so far stand, and nothing else is saved; run the same command again to read from the start",
}


class LazyGroup(click.Group):
    """A group whose commands live one a file and are imported when used."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; stopped, it says what is true of this very command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            told = STOPPED.get(ctx.invoked_subcommand or "", "nothing is saved; run the same command again")
            raise Interrupted(told) from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"homing.cli.{cmd_name.replace('-', '_')}_command")
        return module.command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="homing")
@click.option("--log-level", "level", type=click.Choice(LOG_LEVELS), help="How much to log to stderr.")
def cli(level: str | None) -> None:
    """Give a language model a stable identity to return to: map it, watch it, hold it, prove it."""
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("homing").setLevel(log_level(level).upper())


def main(args: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 the asked condition failed, 2 yours to mend, 70 ours, 130 interrupted."""
    no_telemetry()
    sys.exit(_run(args))


def _run(args: Sequence[str] | None) -> int:
    try:
        code = cli.main(args=list(args) if args is not None else None, prog_name="homing", standalone_mode=False)
        sys.stdout.flush()
    except Interrupted as e:
        click.echo(f"interrupted: {e}", err=True)
        return e.exit_code
    except HomingError as e:
        click.echo(f"error: {e}", err=True)
        return e.exit_code
    except click.ClickException as e:
        e.show()
        return e.exit_code
    except (KeyboardInterrupt, click.exceptions.Abort):
        click.echo("interrupted: run the same command again", err=True)
        return 130
    except BrokenPipeError:
        # The reader went away (for example `| head`): not an error, and flushing again at exit would raise.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:  # the process border: everything that reaches it is our bug
        traceback.print_exc()
        click.echo(f"this is a bug in homing {__version__}, not yours; please report it with the lines above", err=True)
        return 70
    return code if isinstance(code, int) else 0
