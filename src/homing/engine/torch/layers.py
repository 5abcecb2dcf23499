"""The decoder layers of a Hugging Face model, found by what they do and not by what they are called."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeStubs=false
from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, cast

import torch
from torch import nn

from homing.errors import LayersError

__all__ = ["Found", "find", "find_layers", "hidden_of", "text_config"]

_HELP = "name them yourself: --layers path.to.modulelist (in Python layers='path.to.modulelist'), as in model.named_modules()"


@dataclass(frozen=True, eq=False)
class Found:
    """The decoder layers of one model.

    Attributes:
        path: dotted name of the ModuleList. ``layers``: its modules, in the order in which they run.
        hidden: size of the residual stream. ``how``: ``structure`` or ``named``.
    """

    path: str
    layers: tuple[nn.Module, ...]
    hidden: int
    how: str


def text_config(model: nn.Module) -> Any:
    """The configuration of the text part of a model (the model's own where there is no other)."""
    config = cast(Any, model).config
    get = getattr(config, "get_text_config", None)
    return get(decoder=True) if callable(get) else config


def hidden_of(output: Any) -> torch.Tensor | None:
    """The residual stream in a layer's output: the tensor itself, or the first of a tuple."""
    first = output[0] if isinstance(output, tuple) and output else output
    return first if isinstance(first, torch.Tensor) else None


def _input_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor | None:
    value = args[0] if args else kwargs.get("hidden_states")
    return value if isinstance(value, torch.Tensor) else None


def _probe_ids(model: nn.Module) -> torch.Tensor:
    vocab = int(text_config(model).vocab_size)
    device = next(model.parameters()).device
    return torch.tensor([[min(7, vocab - 1), min(11, vocab - 1), min(5, vocab - 1)]], device=device)


def _trace(model: nn.Module, lists: dict[str, nn.ModuleList]) -> dict[str, list[tuple[int, Any, Any]]]:
    """Run three tokens through the model; for every list, which members ran in what order with what in and out."""
    seen: dict[str, list[tuple[int, Any, Any]]] = {name: [] for name in lists}
    handles: list[Any] = []

    def note(name: str, i: int, _m: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        seen[name].append((i, _input_of(args, kwargs), hidden_of(out)))

    try:
        for name, modules in lists.items():
            for i, m in enumerate(modules):
                handles.append(m.register_forward_hook(partial(note, name, i), with_kwargs=True))
        with torch.no_grad():
            model(input_ids=_probe_ids(model), use_cache=False)
    finally:
        for h in handles:
            h.remove()
    return seen


def _is_stack(calls: list[tuple[int, Any, Any]], count: int, hidden: int) -> bool:
    """Whether the members ran once each, in order, each handing ``(1, tokens, hidden)`` to the next."""
    if [c[0] for c in calls] != list(range(count)):
        return False
    for _, x, y in calls:
        if x is None or y is None or x.shape != y.shape or tuple(y.shape) != (1, 3, hidden):
            return False
    return all(torch.equal(a[2], b[1]) for a, b in pairwise(calls))


def find(model: nn.Module, *, layers: str | None = None) -> Found:
    """Find the decoder layers: the longest ModuleList whose members hand ``(rows, tokens, hidden)`` on to each other.

    Args:
        model: a causal language model of transformers.
        layers: dotted name of the ModuleList, where structure is not enough.

    Raises:
        LayersError: nothing fits, or the named list does not.
    """
    hidden = int(text_config(model).hidden_size)
    lists = {n: m for n, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m) > 0}
    if layers is not None:
        named = lists.get(layers)
        if named is None:
            raise LayersError(f"the model has no ModuleList at {layers!r}; it has {', '.join(sorted(lists)) or 'none'}")
        lists = {layers: named}
    calls = _trace(model, lists)
    fits = [(len(m), -n.count("."), n) for n, m in lists.items() if _is_stack(calls[n], len(m), hidden)]
    if not fits:
        name = type(model).__name__
        if layers is not None:
            raise LayersError(
                f"the modules at {layers!r} of {name} do not hand (rows, tokens, {hidden}) on to each other"
            )
        tried = ", ".join(f"{n} ({len(m)})" for n, m in sorted(lists.items())[:8]) or "no ModuleList at all"
        raise LayersError(f"no decoder layers found in {name}: tried {tried}; {_HELP}")
    path = max(fits)[2]
    return Found(path, tuple(lists[path]), hidden, "structure" if layers is None else "named")


def find_layers(model: nn.Module, *, layers: str | None = None) -> list[nn.Module]:
    """The decoder layers of ``model`` in the order in which they run; see :func:`find`."""
    return list(find(model, layers=layers).layers)
