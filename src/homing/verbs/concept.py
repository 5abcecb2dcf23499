"""concept: is the home of an identity one direction in its model, or pieces; from the replies that its map kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np

from homing.errors import IdentityError, InputError
from homing.fracture.concept_map import HomeConcept, by_question, by_role, concept_section, judge_home, table
from homing.identity import Identity, Section
from homing.identity.work import WorkDir
from homing.jsonable import strict
from homing.persona.plan import PRESETS, Cell, Design, Preset, design_cells
from homing.persona.questions import load_questions
from homing.persona.roles import Home, load_home, load_roles
from homing.persona.rollouts import UNIT_ROWS, Replies

__all__ = ["SCHEMA", "SECTION", "concept", "concept_text", "design_of", "kept_replies"]

SCHEMA = "homing.concept/1"
SECTION = "concept"


def concept(directory: Path | str, *, seed: int | None = None, write: bool = True) -> dict[str, Any]:
    """Judge home over kinds of questions and over families of roles, and put the verdict into the identity.

    Args:
        directory: of an identity, with the work of its map beside it. ``seed``: None: the map's own.
        write: False: the identity stays as it is.

    Returns:
        What ``homing fracture concept --json`` prints; ``identity`` is its digest as it then stands.

    Raises:
        IdentityError: there is no readable identity, or it was replaced meanwhile.
        InputError: the replies of its map are not there or too few, are of other content than this version has, or the identity
            cannot be written.
    """
    directory = Path(directory)
    identity = Identity.load(directory)
    persona = identity.section("persona").data
    plan = identity.section("provenance").data["plan"]
    layer = int(persona["axis"]["read_layer"])
    design = design_of(identity)
    replies = kept_replies(directory / "work", design, layer=layer)
    chosen = int(plan["seed"]) if seed is None else seed
    judged = judge_replies(replies, design, seed=chosen)
    if plan["preset_name"] == "smoke" and not any(h.report.n for h in judged.values()):
        why = next(iter(judged.values())).report.reasons[0]
        raise InputError(f"the map of this identity was made with the preset smoke, and its replies are too few: {why}")
    made = concept_section(judged, layer=layer, seed=chosen)
    section = Section(made.version, strict(made.data))
    digest = _put(directory, identity, section) if write else identity.digest
    tables = {k: table(h.report) for k, h in judged.items()}
    return {"schema": SCHEMA, "identity": digest, "written": write, **section.data, "tables": tables}


def _put(directory: Path, judged: Identity, section: Section) -> str:
    """Write the section into the identity, in place of an earlier one; judging takes a while, so another may stand there now.

    Returns:
        The identity's digest as it then is.
    """
    now = Identity.load(directory)
    if now.digest != judged.digest:
        raise IdentityError(
            f"the identity in {directory} was replaced while it was judged; nothing is written: run the same command again"
        )
    made = now.with_section(SECTION, section)
    if made.digest != now.digest:
        made.save(directory)
    return made.digest


def judge_replies(replies: Replies, design: Design, *, seed: int) -> dict[str, HomeConcept]:
    """Both ways of making contexts, judged at the one layer that ``replies`` hold."""
    ways = {
        "questions": by_question(replies, [q.kind for q in design.questions], layer=0),
        "roles": by_role(replies, [r.kind for r in design.roles], layer=0),
    }
    return {k: judge_home(good, bad, seed=seed) for k, (good, bad) in ways.items()}


def design_of(identity: Identity) -> Design:
    """The design of an identity's map, made again from the content of this version and checked against what was asked.

    Raises:
        InputError: this version has other roles or questions, or the map had some of the user's own.
    """
    persona, plan = identity.section("persona").data, identity.section("provenance").data["plan"]
    sampled = persona["sampled"]
    homes = load_home(None)
    if [h.digest for h in homes] != list(persona["home"]):
        homes = (Home(persona["home_system"], tuple((s, t) for s, t in persona["home_messages"])),)
    preset = Preset(**plan["preset"]) if isinstance(plan["preset"], dict) else PRESETS[plan["preset_name"]]
    design = design_cells(load_roles(), load_questions(), homes, preset=preset, seed=int(plan["seed"]))
    if design.to_json() != sampled:
        changed = [k for k, v in design.to_json().items() if v != sampled.get(k)]
        raise InputError(
            f"the map of this identity asked other content than this version ships ({', '.join(changed)} differ): it had roles of"
            " your own, or another version made it; map again with the built-in roles"
        )
    return design


def kept_replies(work: Path, design: Design, *, layer: int) -> Replies:
    """The replies of a map at one layer, as far as its work holds them; rounds that an early stop left out are not there.

    Raises:
        InputError: the work is not there, or a unit in the middle of it is.
    """
    missing = (
        f"the reply vectors of this map are not in {work}: an identity keeps the means of each role alone, and contexts need"
        " every reply's; keep the work directory beside the identity, or map again"
    )
    try:
        plan = cast("dict[str, Any]", json.loads((work / "plan.json").read_bytes()))
    except (OSError, ValueError):
        raise InputError(missing) from None
    units = WorkDir(work, plan)
    cells: list[Cell] = []
    rows: list[list[Any]] = []
    means: list[np.ndarray[Any, np.dtype[np.float32]]] = []
    for r in sorted({c.round for c in design.cells}):
        of_round = [c for c in design.cells if c.round == r]
        found = [units.find(f"replies/{r:03d}-{u:03d}") for u in range(-(-len(of_round) // UNIT_ROWS))]
        if not any(found) and cells:
            break
        for u, unit in enumerate(found):
            if unit is None:
                raise InputError(
                    missing if not cells else f"unit {r:03d}-{u:03d} of the replies in {work} is not there; map again"
                )
            part = of_round[u * UNIT_ROWS : (u + 1) * UNIT_ROWS]
            if len(unit.data) != len(part) or layer >= unit.arrays["means"].shape[1]:
                raise IdentityError(f"unit {r:03d}-{u:03d} of the replies in {work} is of another design; map again")
            for i, cell in enumerate(part):
                if unit.data[i][2] > 0:  # an empty reply has no vector
                    cells.append(cell)
                    rows.append(unit.data[i])
                    means.append(unit.arrays["means"][i, layer])

    def ints(values: list[int]) -> np.ndarray[Any, np.dtype[np.int64]]:
        return np.array(values, np.int64)

    return Replies(
        np.stack(means)[:, None],
        ints([c.role for c in cells]),
        ints([c.question for c in cells]),
        ints([c.prompt for c in cells]),
        ints([row[2] for row in rows]),
        tuple(row[0] for row in rows),
        tuple(row[1] for row in rows),
        (layer,),
        sum(row[2] for row in rows),
        sum(row[3] for row in rows),
        ints([c.block for c in cells]),
    )


_WAYS = {"questions": "kinds of questions", "roles": "families of roles"}


def concept_text(found: dict[str, Any]) -> str:
    """The same for a person."""
    lines: list[str] = []
    for way, said in found["by"].items():
        lines.append(f"home over {_WAYS[way]}, layer {found['layer']}: {said['verdict'].upper()}")
        lines += [f"  {r}" for r in said["reasons"]]
        lines += [f"  left out: {k}: {why}" for k, why in said["left_out"].items()]
        lines += [f"  {name:<24} {_shown(e)}" for name, e in said["figures"].items()]
        for row in found["tables"][way]:
            lines.append(
                f"  {row['first']} / {row['second']}: {row['cosine']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
                f" (raw {row['raw']:.2f} where one direction would show {row['ceiling']:.2f};"
                f" AUROC lost {row['auroc_lost']:.2f})"
            )
    lines.append(
        f"written into the identity, which is {found['identity'][:12]} now; `homing card` shows it"
        if found["written"]
        else "nothing is written"
    )
    return "\n".join(lines)


def _shown(e: dict[str, Any]) -> str:
    def number(x: float | None) -> str:
        return "-" if x is None else f"{x:.2f}"

    return f"{number(e['value'])} [{number(e['low'])}, {number(e['high'])}]"
