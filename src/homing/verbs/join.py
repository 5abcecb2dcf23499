"""join: one model, measured on several weights or engines, in one identity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from homing.errors import IdentityError, InputError
from homing.identity import Identity
from homing.verbs.compare import compare_identities

__all__ = ["join", "join_identities"]


def join(directories: Sequence[Path | str], out: Path | str) -> tuple[Identity, list[str]]:
    """Put identities together and write them; see :func:`join_identities`."""
    made, words = join_identities([Identity.load(d) for d in directories])
    made.save(out)
    return made, words


def join_identities(identities: Sequence[Identity]) -> tuple[Identity, list[str]]:
    """One identity with every measurement, the first one's shown; each engine then takes its own.

    That they are one model is the caller's word: a quantisation and a training of a model change its weights alike. What
    each did to home beside the first is compared, and said.

    Returns:
        the identity, and one sentence on each measurement after the first.

    Raises:
        InputError: fewer than two. IdentityError: two are of the same weights, or the models differ in layers or width.
    """
    if len(identities) < 2:
        raise InputError(f"{len(identities)} identity to put together; give at least two directories")
    parts = [p for i in identities for p in i.measured]
    seen: set[str] = set()
    for p in parts:
        mark = str(p.model.get("fingerprint", ""))
        if mark in seen:
            raise IdentityError(
                f"{_name(p)} ({mark[:12]}) is there twice; give each measurement once, the one that should be kept"
            )
        seen.add(mark)
    words: list[str] = []
    for p in parts[1:]:
        finding, _ = compare_identities(parts[0], p)
        cosine = finding.estimates["cosine"]
        words.append(
            f"{_name(p)} beside {_name(parts[0])}: cosine of the axes {cosine.value:.3f}"
            f" [{cosine.low:.3f}, {cosine.high:.3f}]; {finding.verdict}"
        )
    return replace(parts[0], also=tuple(parts[1:])), words


def _name(part: Identity) -> str:
    m = part.model
    return f"{m.get('name', 'a model')} in {m.get('dtype', '?')} on {m.get('engine', '?')}"
