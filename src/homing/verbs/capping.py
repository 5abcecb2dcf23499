"""The third stage of a map: tune the cap on one half, prove on the other what it does, and say what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from homing.conversation import Conversation
from homing.hold.cap import Cap
from homing.hold.controls import control_directions, match_controls
from homing.hold.efficacy import efficacy, harmless
from homing.hold.roleplay import load_roleplay
from homing.hold.tuning import candidates, tune
from homing.identity import Section
from homing.identity.work import Unit, WorkDir
from homing.jsonable import strict
from homing.models.base import ChatModel
from homing.persona.battery import Difficulty, calibrate, price
from homing.persona.questions import load_questions
from homing.persona.space import role_vectors
from homing.stats.estimate import Finding
from homing.stats.seeds import stable_seed
from homing.verbs.persona import Persona
from homing.verbs.plan import MATCHING_PUSHES, MATCHING_ROUNDS, MapPlan
from homing.verbs.progress import Progress

__all__ = ["Held", "hold_home", "untimed"]

TUNING_PUSHES = 12
TUNING_TOKENS = 24
FULL_PRICE = 1000


@dataclass(frozen=True, eq=False)
class Held:
    """The cap and the section that says what it did."""

    cap: Cap
    section: Section


def untimed(finding: Finding) -> dict[str, Any]:
    """A finding as JSON without its seconds, which differ from run to run and must stay outside every hash."""
    raw = finding.to_json()
    raw["cost"]["seconds"] = 0.0
    return raw


async def hold_home(model: ChatModel, persona: Persona, plan: MapPlan, work: WorkDir, progress: Progress) -> Held:
    """Tune, self-test, match controls, prove, price."""
    axis, replies, seed, preset = persona.axis, persona.replies, plan.seed, plan.preset
    for direction in axis.directions:
        model.register(direction)
    progress.stage("tuning the cap on its own half of the role-play prompts")
    pushes = load_roleplay("tune", n=min(TUNING_PUSHES, preset.cap_prompts))
    home_raw = axis.raw(replies.means[replies.home & persona.tune])

    async def choose() -> Unit:
        difficulty = await calibrate(model, seed=seed, per_level=16 if preset.price_items >= FULL_PRICE else 8)
        options = candidates(axis, model.info.layers, n=6 if preset.price_items >= FULL_PRICE else 3)
        tuning = await tune(
            model,
            axis,
            home_raw,
            pushes,
            options=options,
            max_new_tokens=TUNING_TOKENS,
            difficulty=difficulty,
            seed=seed,
        )
        data, arrays = tuning.cap.to_section()
        return Unit({"cap": data, "tuning": tuning.to_json(), "difficulty": difficulty.to_json()}, arrays)

    chosen = await work.do("cap/tuning", choose)
    progress.advance(7 * len(pushes))
    cap = Cap.from_section(chosen.data["cap"], chosen.arrays)
    difficulty = Difficulty.from_json(chosen.data["difficulty"])
    await cap.self_test(model, axis)

    async def prove() -> Unit:
        _, roles, counts = role_vectors(replies)
        directions = control_directions(
            axis, seed=seed, residuals=replies.means, role_vectors=roles[counts > 0], home=replies.home,
            draws=preset.control_draws,
        )  # fmt: skip
        prompts = [Conversation.of(p.push) for p in pushes[:MATCHING_PUSHES]]
        matched = await match_controls(
            model,
            cap,
            directions,
            prompts,
            seed=stable_seed("match", seed),
            max_new_tokens=TUNING_TOKENS,
            rounds=MATCHING_ROUNDS,
        )
        found = await efficacy(
            model,
            axis,
            cap,
            matched,
            load_roleplay("report", n=preset.cap_prompts),
            barred=frozenset(chosen.data["tuning"]["barred"]),
            max_new_tokens=preset.reply_tokens,
            seed=seed,
        )
        return Unit(
            {
                "lift": untimed(found.lift),
                "controls": {k: untimed(f) for k, f in found.controls.items()},
                "engaged": {k: list(v) for k, v in found.engaged.items()},
                "matched": {k: [m.to_json() for m in v] for k, v in matched.items()},
                "examples": [strict(e.to_json()) for e in found.examples],
                "clear": found.clear,
                "items": list(found.items),
                "harmless": untimed(
                    await harmless(
                        model,
                        axis,
                        cap,
                        _ordinary(plan, preset.cap_prompts),
                        max_new_tokens=preset.reply_tokens,
                        seed=seed,
                    )
                ),
            }
        )

    progress.stage("what the cap does, beside matched controls")
    proof = await work.do("cap/efficacy", prove)
    progress.advance(plan.split["cap matching"] + plan.split["cap report"])

    async def cost() -> Unit:
        acts = cap.register(model)
        found = await price(model, acts, n_items=preset.price_items, seed=seed, difficulty=difficulty)
        return Unit({f.name: untimed(f) for f in found})

    progress.stage("the price of the cap on the exact battery")
    priced = await work.do("cap/price", cost)
    section = Section(
        1,
        {
            "cap": chosen.data["cap"],
            "tuning": chosen.data["tuning"],
            "difficulty": {"level": chosen.data["difficulty"]["level"]},
            "proof": proof.data,
            "price": priced.data,
        },
        dict(chosen.arrays),
    )
    return Held(cap, section)


def _ordinary(plan: MapPlan, n: int) -> list[str]:
    """Everyday and task questions, those that the map did not ask first."""
    asked = {q.id for q in plan.design.questions}
    kinds = [q for q in load_questions() if q.kind in ("everyday", "task")]
    return [q.text for q in sorted(kinds, key=lambda q: (q.id in asked, q.id))[:n]]
