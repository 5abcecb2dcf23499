"""The plan of a map: everything it depends on, said before anything runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, get_args

from homing.errors import InputError
from homing.models.completions import Completions
from homing.persona.judge import load_gold
from homing.persona.plan import PRESETS, Design, Preset, PresetName, design_cells
from homing.persona.questions import load_questions
from homing.persona.roles import load_home, load_roles
from homing.persona.space import READER_SHRINKAGE

__all__ = ["JudgeName", "MapPlan", "plan_map"]

JudgeName = Literal["auto", "likelihood", "rules", "none"]
JUDGES: tuple[JudgeName, ...] = get_args(JudgeName)

# Seconds on two cores for the embedded model in fp32, measured by the benchmarks; only the estimate before the start
# uses them, the remaining time on screen comes from the run itself.
SECONDS_PER_NEW_TOKEN = 1 / 120
SECONDS_PER_PROMPT_TOKEN = 1 / 500
PROMPT_TOKENS = 60
MATCHING_PUSHES = 3
MATCHING_ROUNDS = 2
SCRIPT_REPLIES = 15 + 15 + 7 + 16
"""Of one script of eight turns: free and twin with fresh replies, the first turn being its own, the same messages after
the twin's history, and held with all."""


@dataclass(frozen=True, eq=False)
class MapPlan:
    """What ``homing map`` will do.

    Attributes:
        model: as the user named it. ``preset_name``, ``preset``: how much is sampled. ``design``: every cell.
        home: the file that says what home is, or None for the plain Assistant. ``seed``: of everything.
        out: where the identity goes; unfinished work lies in ``out/work``.
        precision: wanted half width of the axis' split-half cosine; None: all rounds are sampled.
        judge: ``auto`` runs the likelihood judge where the preset has it; ``rules`` costs nothing and knows less; an
            address asks ``judge_model`` behind an OpenAI-compatible endpoint.
    """

    model: str
    preset_name: PresetName
    preset: Preset
    design: Design
    home: Path | None
    seed: int
    out: Path
    precision: float | None
    judge: JudgeName | str
    judge_model: str = ""

    @property
    def judging(self) -> str:
        """Which judge runs: ``likelihood``, ``rules``, ``none``, or the model and the address that are asked."""
        if self.judge == "auto":
            return "likelihood" if self.preset.judge else "none"
        return self.judge if self.judge in JUDGES else f"{self.judge_model} at {self.judge}"

    @property
    def split(self) -> dict[str, int]:
        """How many replies each part makes."""
        p = self.preset
        later = 2 * p.turns - 1  # the first turn is its own fresh context
        home = sum(c.role < 0 for c in self.design.cells)
        return {
            "roles": len(self.design.cells) - home,
            "home": home,
            "calibration": p.calibration * later,
            "check": p.check * later,
            "cap tuning": 7 * min(12, p.cap_prompts),
            # the cap and nothing, then every direction of three kinds in a first round and in those that correct it
            "cap matching": min(MATCHING_PUSHES, p.cap_prompts) * (2 + 3 * p.control_draws * (1 + MATCHING_ROUNDS)),
            "cap report": 5 * 2 * p.cap_prompts + 2 * p.cap_prompts,
            "drift scripts": 4 * p.scripts_per_domain * SCRIPT_REPLIES,
        }

    @property
    def expected_minutes(self) -> float:
        """About how long it takes on two cores with the embedded model."""
        replies = sum(self.split.values())
        new = replies * self.preset.reply_tokens
        prompt = replies * PROMPT_TOKENS + 2 * self.preset.price_items * 150
        judge = 0
        if self.judging == "likelihood":
            judge = (self.split["roles"] + 200) * 17 * self.preset.reply_tokens
        return (new * SECONDS_PER_NEW_TOKEN + (prompt + judge) * SECONDS_PER_PROMPT_TOKEN) / 60

    @property
    def steps(self) -> int:
        """Steps of the progress bar: replies made, and replies judged, those of the gold set among them."""
        judged = 0
        if self.judging not in ("rules", "none"):
            ids = {r.id for r in self.design.roles}
            judged = self.split["roles"] + sum(g.role in ids for g in load_gold())
        return sum(self.split.values()) + judged

    def describe(self) -> list[str]:
        """The plan in lines for a person."""
        parts = ", ".join(f"{n} {k}" for k, n in self.split.items() if n)
        lines = [
            f"{self.model}, preset {self.preset_name}, seed {self.seed}: {sum(self.split.values())} replies of up to"
            f" {self.preset.reply_tokens} tokens ({parts})",
            f"{len(self.design.roles)} roles, {len(self.design.questions)} questions, {len(self.design.homes)} home prompts;"
            f" judge: {'likelihood contrast' if self.judging == 'likelihood' else self.judging};"
            f" exact battery of {self.preset.price_items} items",
            f"about {self.expected_minutes:.0f} minutes on two cores with the embedded model;"
            f" stop at any time, the same command goes on",
        ]
        if self.precision is not None:
            lines.append(
                f"sampling stops early once the axis' split-half cosine is known to {self.precision} on one half"
            )
        return lines

    def units_json(self) -> dict[str, Any]:
        """Everything that the units of work depend on; the judge only adds units, so it can be run later on."""
        return {
            "model": self.model,
            "preset": asdict(self.preset),
            "preset_name": self.preset_name,
            "seed": self.seed,
            "precision": self.precision,
            "design": self.design.to_json(),
            "content": shipped_digest(),
            "reader": READER_SHRINKAGE,
        }

    def to_json(self) -> dict[str, Any]:
        """Everything the bytes of the result depend on, beside the model itself."""
        return {**self.units_json(), "judge": self.judging}


@cache
def shipped_digest(*more: str) -> str:
    """SHA-256 over every data file of the rooms that a map asks, plays or judges with: an edited file is another plan.

    Args:
        more: rooms whose files are asked with beside them.
    """
    h = hashlib.sha256()
    for room in ("persona", "drift", "hold", *more):
        for name, raw in _files(files(f"homing.{room}") / "data"):
            h.update(f"{room}/{name}\0".encode() + hashlib.sha256(raw).digest())
    return h.hexdigest()


def _files(folder: Traversable, under: str = "") -> Iterator[tuple[str, bytes]]:
    for item in sorted(folder.iterdir(), key=lambda f: f.name):
        if item.is_dir():
            yield from _files(item, f"{under}{item.name}/")
        else:
            yield f"{under}{item.name}", item.read_bytes()


def plan_map(
    model: str,
    *,
    preset: str = "standard",
    home: Path | None = None,
    seed: int = 0,
    out: Path,
    precision: float | None = None,
    judge: str = "auto",
    judge_model: str = "",
    roles: Path | None = None,
) -> MapPlan:
    """Make the plan; reads content, opens no model.

    Raises:
        InputError: an unknown preset or judge, a precision out of range, a role or home file that cannot be read.
    """
    names: Sequence[PresetName] = tuple(PRESETS)
    if preset not in names:
        raise InputError(f"preset {preset!r} is unknown; use one of {', '.join(names)}")
    if judge not in JUDGES:
        if "://" not in judge:
            raise InputError(f"judge {judge!r} is unknown; use one of {', '.join(JUDGES)}, or an address")
        Completions(judge, judge_model)
    if precision is not None and not 0.005 <= precision <= 0.5:
        raise InputError(f"precision is {precision}; it is a half width of a cosine, between 0.005 and 0.5")
    chosen = PRESETS[preset]
    design = design_cells(load_roles(roles), load_questions(), load_home(home), preset=chosen, seed=seed)
    return MapPlan(model, preset, chosen, design, home, seed, Path(out), precision, judge, judge_model)
