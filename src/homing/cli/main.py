"""The process border: parsing, exit codes, and what a person sees when something goes wrong."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence

import click

from homing import __version__
from homing.config import no_telemetry
from homing.errors import HomingError, Interrupted

__all__ = ["COMMANDS", "cli", "main"]

# Name -> one line of help. The module of a command is imported only when it is called or asked for its own help.
COMMANDS: dict[str, str] = {
    "cache": "Show or empty the cache of converted models.",
    "card": "Print what was measured about an identity.",
    "chat": "Talk to a model with a live meter of where it stands.",
    "compare": "Compare two identities.",
    "completion": "Print the shell completion script.",
    "config": "Print every setting and where its value comes from.",
    "demo": "Map, watch and hold the embedded model, and write one report.",
    "doctor": "Examine a model: layers, spans, hooks, speed.",
    "export": "Write an identity as a GGUF control vector.",
    "map": "Measure who a model is at home.",
    "report": "Write one HTML page about an identity.",
    "watch": "Read transcripts and say where the model leaves home.",
}


class LazyGroup(click.Group):
    """A group whose commands live one a file and are imported when used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"homing.cli.{cmd_name}_command")
        return module.command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="homing")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="How much to log to stderr."
)
def cli(log_level: str | None) -> None:
    """Give a language model a stable identity to return to: map it, watch it, hold it, prove it."""
    if log_level is None:
        log_level = os.environ.get("HOMING_LOG_LEVEL", "warning")
    else:
        os.environ["HOMING_LOG_LEVEL"] = log_level
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    level = logging.getLevelNamesMapping().get(log_level.upper())
    if level is not None:  # a wrong name in the environment is refused, with its source, where settings are loaded
        logging.getLogger("homing").setLevel(level)


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
        click.echo("interrupted: what was finished is saved; run the same command again to go on", err=True)
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
