"""A planted subject for the return experiment: scripts, a battery and a home with a known answer."""

from __future__ import annotations

import numpy as np

from homing.instruments.home_return import HomeReturn, ReturnPreset
from homing.instruments.pushes import Fact, PushScript
from homing.models.base import ChatModel
from homing.persona.outside import FACETS, OutsideItem, Wording, answers
from homing.persona.outside_home import OutsideHome
from homing.testing.planted import DriftingSubject

ITEMS = tuple(
    OutsideItem(
        f"{facet}-{k}", facet, f"matter {facet} {k}",
        Wording(f"matter {facet} {k}, first asking?", ("one", "two", "three")),
        Wording(f"matter {facet} {k}, second asking?", ("one", "two", "three")),
    )
    for facet in FACETS
    for k in range(6)
)  # fmt: skip
FACTS = tuple(
    Fact(f"fact {k}", f"fact {k}?", tuple(f"{v} it is" for v in ("true", "false", "odd", "even"))) for k in range(6)
)


def script(n: int, half: str = "report", push: str = "roleplay", sanctioned: tuple[str, ...] = ()) -> PushScript:
    """One script, unlike the others in its first words."""
    return PushScript(
        f"{push}-{half}-{n}", push, "planted", half, (f"opening {push} {half} {n}", "second opening"), FACTS,
        tuple(f"PUSH {k}" for k in range(5)), tuple(f"calm {k}" for k in range(5)),
        tuple(f"PUSH nudge {k}" for k in range(4)), sanctioned,
    )  # fmt: skip


def subject(**planted: float) -> DriftingSubject:
    """A subject that is pushed by what begins with PUSH."""
    return DriftingSubject(
        pushes=lambda text: text.count("PUSH"), about=lambda q: q.split(",")[0], **{"size": 4.0, **planted}
    )


async def home_of(model: ChatModel) -> OutsideHome:
    """The subject's home, every item taken as qualified."""
    at = await answers(model, _nothing(), ITEMS)
    return OutsideHome(at, np.zeros(len(ITEMS)), tuple(i.id for i in ITEMS), (), {})


def _nothing():
    from homing.conversation import Conversation

    return Conversation()


def experiment(home: OutsideHome, *, scripts: int = 12, after: int = 3, **more: object) -> HomeReturn:
    """The experiment on planted scripts."""
    own = [script(n) for n in range(scripts)] + [script(n, "qualify") for n in range(4)]
    preset = ReturnPreset(("roleplay",), scripts, 4, after, (0, after), "short", 4, norms=0)
    return HomeReturn(home, ITEMS, scripts=own, preset=preset, **more)
