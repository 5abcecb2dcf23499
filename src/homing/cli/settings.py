"""Settings on the command line: the options that several commands share, and how what was resolved reaches the verbs."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from homing.errors import InputError, MissingExtra

if TYPE_CHECKING:
    from homing.config import Settings

__all__ = [
    "chosen_model",
    "engine_option",
    "layers_option",
    "load_settings",
    "needs_gateway",
    "opening",
    "opening_options",
    "refuse_half",
    "threads_option",
]


def _keep_device(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    ctx.meta["homing.device"] = value


def engine_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """What runs the model, and where; the device goes to :func:`load_settings` by itself."""
    command = click.option(
        "--device",
        metavar="NAME",
        expose_value=False,
        callback=_keep_device,
        help="Where torch runs it: cpu, cuda, cuda:1; auto: a GPU where there is one. A GGUF file stays on llama.cpp and"
        " the CPU unless a GPU is named.",
    )(command)
    return click.option(
        "--engine",
        type=click.Choice(["auto", "llamacpp", "torch"]),
        help="What runs the model; auto: llama.cpp for a GGUF file, torch for the rest.",
    )(command)


dtype_option = click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
    help="Of the weights on torch; float32 for maps.",
)
threads_option = click.option("--threads", type=click.IntRange(min=1, max=1024), help="CPU threads.")
slots_option = click.option("--slots", type=click.IntRange(min=1, max=4096), help="Replies made at once.")
layers_option = click.option(
    "--layers",
    metavar="PATH",
    help="Where the decoder layers are in the model, as model.layers, on torch, if they are not found by structure.",
)


def opening_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """All options of how a model is opened, for the commands that open one to talk to."""
    for option in (layers_option, slots_option, threads_option, dtype_option, engine_option):
        command = option(command)
    return command


def load_settings(**flags: Any) -> Settings:
    """Resolve every setting for one command, the group's own flags among them, and let rooms below see the same."""
    from homing import config

    ctx = click.get_current_context()
    level = ctx.find_root().params.get("level")
    settings = config.load({**flags, "log_level": level, "device": ctx.meta.get("homing.device")})
    settings.export()
    return settings


def chosen_model(settings: Settings) -> str | None:
    """The model that someone chose; None where nobody did, so that an identity's own is opened, not the default."""
    return None if settings.sources["model"] == "default" else settings["model"]


def opening(settings: Settings, layers: str | None) -> dict[str, Any]:
    """How a model is opened, for the verbs that open one; what nobody set is left to them."""
    wanted = {
        "engine": settings["engine"],
        "dtype": settings["dtype"],
        "threads": settings["threads"],
        "slots": settings["slots"],
        "layers": layers,
    }
    return {k: v for k, v in wanted.items() if v is not None}


@contextmanager
def needs_gateway(what: str) -> Generator[None, None, None]:
    """Around imports of the gateway.

    Raises:
        MissingExtra: a package of its extra is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as e:
        if e.name is not None and e.name.startswith("homing"):
            raise
        raise MissingExtra(f"what {what} needs", 'pip install "homing[gateway]"') from None


def refuse_half(settings: Settings) -> None:
    """Refuse a map in a half; one on llama.cpp is made in what the file holds.

    Raises:
        InputError: a half was asked for, by whatever source.
    """
    dtype, source = settings["dtype"], settings.sources["dtype"]
    if dtype not in ("auto", "float32"):
        where = "--dtype" if source == "flag" else source
        raise InputError(
            f"dtype is {dtype} ({where}), and maps on torch are made in float32 alone, so that they repeat, and a GGUF is"
            " mapped as it is; set it to float32"
        )
