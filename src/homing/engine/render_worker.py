"""The child process that renders chat templates: a template is somebody's code, so it gets a sandbox and hard limits.

Run by path, never imported by homing. Speaks frames over its pipes: four bytes of length, then JSON.
In: ``{"source", "context", "seconds", "size", "date"}``. Out: ``{"text"}`` or ``{"error", "kind"}``, the kind being
``raised`` (the template refused), ``failed`` (it broke on this conversation) or ``limit`` (it may not be used at all).
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

import datetime
import json
import resource
import signal
import struct
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, BinaryIO, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

_MEMORY = 768 * 2**20
_LARGEST_POWER = 64


class TooSlow(BaseException):
    """The processor time is used up; a BaseException, so that no template filter can swallow it."""


class Raised(Exception):
    """The template itself refused the conversation, through ``raise_exception``."""


class Forbidden(Exception):
    """A step that no chat template needs and that could fill the memory."""


class Generation(Extension):
    """``{% generation %}...{% endgeneration %}``, which some training templates carry: only its body counts."""

    tags = {"generation"}  # noqa: RUF012 - the name and type are jinja2's

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        """The body, without the tags."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class Sandbox(ImmutableSandboxedEnvironment):
    """No attribute that starts with an underscore, and no product or power that could fill the memory in one step."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Refuse the two operators on anything but small numbers."""
        if operator == "**" and not (abs(left) <= 2**32 and abs(right) <= _LARGEST_POWER):
            raise Forbidden(f"the power {left} ** {right} is too large for a chat template")
        if operator == "*" and not (isinstance(left, (int, float)) and isinstance(right, (int, float))):
            count, other = (left, right) if isinstance(left, int) else (right, left)
            if isinstance(count, int) and isinstance(other, (str, list, tuple)) and count * len(other) > 100_000:
                raise Forbidden("a repetition of text is too large for a chat template")
        return super().call_binop(context, operator, left, right)


def _raise_exception(message: object) -> NoReturn:
    raise Raised(str(message))


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # jinja2's own filter escapes HTML, which would change the prompt
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _environment() -> Sandbox:
    env = Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    env.filters["tojson"] = _tojson
    env.globals["raise_exception"] = _raise_exception
    for unneeded in ("lipsum", "cycler", "joiner"):
        env.globals.pop(unneeded, None)
    return env


def _out_of_time(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise TooSlow


def _render(template: Callable[[], jinja2.Template], context: dict[str, Any], size: int) -> dict[str, Any]:
    pieces: list[str] = []
    length = 0
    for piece in template().generate(**context):
        length += len(piece)
        if length > size:
            return {"error": f"it writes more than {size:,} characters", "kind": "limit"}
        pieces.append(piece)
    return {"text": "".join(pieces)}


def _answer(env: Sandbox, compiled: dict[str, jinja2.Template], request: dict[str, Any]) -> dict[str, Any]:
    source = request["source"]

    def template() -> jinja2.Template:
        if source not in compiled:
            compiled[source] = env.from_string(source)
        return compiled[source]

    day = datetime.datetime.fromisoformat(request["date"])
    env.globals["strftime_now"] = day.strftime
    seconds = float(request["seconds"])
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        return _render(template, request["context"], int(request["size"]))
    except TooSlow:
        return {"error": f"it runs longer than {seconds:g} seconds of processor time", "kind": "limit"}
    except Forbidden as e:
        return {"error": str(e), "kind": "limit"}
    except (MemoryError, RecursionError):
        return {"error": "it recurses or grows without end", "kind": "limit"}
    except Raised as e:
        return {"error": str(e), "kind": "raised"}
    except jinja2.exceptions.SecurityError as e:
        return {"error": f"it reaches for something the sandbox forbids ({e})", "kind": "limit"}
    except jinja2.TemplateSyntaxError as e:
        return {"error": f"line {e.lineno}: {e.message}", "kind": "limit"}
    except (
        jinja2.TemplateError,
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        AssertionError,
    ) as e:
        return {"error": f"{type(e).__name__}: {e}", "kind": "failed"}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _read(stream: BinaryIO) -> bytes | None:
    head = stream.read(4)
    if len(head) < 4:
        return None
    return stream.read(struct.unpack(">I", head)[0])


def main() -> None:
    """Answer requests until the parent closes the pipe."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # a template writes no files
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, _out_of_time)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    env, compiled = _environment(), dict[str, jinja2.Template]()
    while (frame := _read(sys.stdin.buffer)) is not None:
        answer = json.dumps(_answer(env, compiled, json.loads(frame))).encode()
        sys.stdout.buffer.write(struct.pack(">I", len(answer)) + answer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
