"""``homing verify-commit``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import click

from homing.cli.output import json_option, plain, stdout_for
from homing.errors import InputError


def _read(path: Path, what: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"{what} {path} cannot be read ({e}); give a readable UTF-8 JSON file") from None
    except ValueError as e:
        raise InputError(f"{what} {path} is not JSON ({e}); give the file as it was saved") from None


@click.command(name="verify-commit")
@click.argument("opening", type=click.Path(path_type=Path))
@click.option("--commitment", required=True, metavar="HASH", help="As it was published before the reveal.")
@click.option("--conversation", type=click.Path(path_type=Path), help="The transcript: a JSON list of OpenAI messages.")
@json_option
def command(opening: Path, commitment: str, conversation: Path | None, as_json: bool) -> None:
    """Check that OPENING, a JSON file, is what a hold committed to; exit 1 if it is not."""
    from homing.conversation import Conversation
    from homing.hold.commit import verify_commit

    with stdout_for(as_json) as out:
        opened = _read(opening, "opening")
        if not isinstance(opened, dict):
            raise InputError(f"opening {opening} is a {type(opened).__name__}; it is the object that the reveal gave")
        said = None
        if conversation is not None:
            raw = _read(conversation, "conversation")
            if not isinstance(raw, list):
                raise InputError(f"conversation {conversation} is a {type(raw).__name__}; give a JSON list of messages")
            said = Conversation.from_openai(cast("list[Any]", raw))
        found = verify_commit(commitment, cast("dict[str, Any]", opened), conversation=said)
        out.emit({"schema": "homing.verify-commit/1", "ok": found.ok, "reason": found.reason}, plain(found.reason))
    if not found.ok:
        raise click.exceptions.Exit(1)
