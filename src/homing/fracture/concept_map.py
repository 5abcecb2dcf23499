"""The home persona as a concept: the replies of a map as contexts, and the section of an identity that says what was found.

Positive are replies at home, negative those under roles. Two ways to make contexts: by kind of question (is home the same thing
where feelings are talked of as where a task is done?) and by family of roles (is home the same thing against people at work as
against machines?).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from homing.errors import InputError
from homing.fracture.concept import ConceptReport, judge_concept
from homing.fracture.concept_contexts import LEAST, Context, Contexts
from homing.identity import Section
from homing.persona.rollouts import Replies
from homing.stats._special import F64, I64

__all__ = ["FAMILIES", "HomeConcept", "by_question", "by_role", "concept_section", "judge_home", "table"]

FAMILIES: dict[str, str] = {
    "profession-care": "people at work",
    "profession-office": "people at work",
    "profession-technical": "people at work",
    "artist": "people at work",
    "child-and-elder": "people by temper and age",
    "mood": "people by temper and age",
    "outdoors": "people by temper and age",
    "rogue": "people by temper and age",
    "archetype": "people of stories",
    "fictional": "people of stories",
    "historical": "people of stories",
    "mythic": "people of stories",
    "ai-kind": "machines, animals and things",
    "non-human": "machines, animals and things",
}
"""Kind of role to family: a kind has too few roles to be a context, and roles, not replies, are what is sampled."""
OTHER = "roles of your own"


@dataclass(frozen=True, eq=False, slots=True)
class HomeConcept:
    """One way to cut home into contexts, judged.

    Attributes:
        report: the verdict. ``left_out``: context to why it is not among them.
    """

    report: ConceptReport
    left_out: dict[str, str]


def _contexts(made: Mapping[str, Callable[[], Context]]) -> tuple[list[Context], dict[str, str]]:
    good, bad = list[Context](), dict[str, str]()
    for name, make in made.items():
        try:
            good.append(make())
        except InputError as e:
            bad[name] = str(e)
    return good, bad


def by_question(replies: Replies, kinds: Sequence[str], *, layer: int) -> tuple[list[Context], dict[str, str]]:
    """A context for each kind of question; a question is one prompt, with its replies at home and under roles.

    The roles are the same in all contexts, and taken as they are: what is compared is home against these roles.

    Args:
        kinds: of each question. ``layer``: index into ``replies.layers``.

    Returns:
        The contexts, and by name why others could not be made.
    """
    x = replies.means[:, layer].astype(np.float64)
    kind = np.asarray(kinds)[replies.question]

    def make(name: str) -> Context:
        home, away = ((kind == name) & side for side in (replies.home, ~replies.home))
        return Context(name, x[home], x[away], _tags("q", replies.question[home]), _tags("q", replies.question[away]))

    return _contexts({k: (lambda k=k: make(k)) for k in sorted(set(kinds))})


def by_role(replies: Replies, kinds: Sequence[str], *, layer: int) -> tuple[list[Context], dict[str, str]]:
    """A context for each family of roles; a role is one prompt.

    Home replies are dealt out to the contexts, all of a question to one: shared, their noise would make contexts look alike.
    So that contexts do not differ by their questions instead, what a question adds to every reply is taken out first.

    Args:
        kinds: of each role. ``layer``: index into ``replies.layers``.
    """
    x = replies.means[:, layer].astype(np.float64)
    family = np.array([FAMILIES.get(k, OTHER) for k in kinds])
    names = sorted(set(family.tolist()))
    x = x - _added(x, replies)
    of_role = np.where(replies.home, "", family[np.where(replies.home, 0, replies.role)])
    dealt = np.array(names)[np.searchsorted(np.unique(replies.question), replies.question) % len(names)]

    def make(name: str) -> Context:
        home, away = replies.home & (dealt == name), of_role == name
        return Context(name, x[home], x[away], _tags("q", replies.question[home]), _tags("r", replies.role[away]))

    return _contexts({k: (lambda k=k: make(k)) for k in names})


def _tags(letter: str, numbers: I64) -> list[str]:
    return [f"{letter}{n}" for n in numbers]


def _added(x: F64, replies: Replies) -> F64:
    """What each reply's question adds, ``(replies, hidden)``: estimated by replies under roles, less the mean of their roles.

    Home replies have no part in it, so none of what makes home home is taken out.
    """
    away = ~replies.home
    n_r, n_q = int(replies.role.max()) + 1, int(replies.question.max()) + 1
    role, question = replies.role[away], replies.question[away]
    mine = x[away] - _means(x[away], role, n_r)[role]
    added = _means(mine, question, n_q)
    return added[replies.question]


def _means(x: F64, codes: npt.NDArray[np.int64], n: int) -> F64:
    out = np.zeros((n, x.shape[1]))
    np.add.at(out, codes, x)
    return out / np.maximum(np.bincount(codes, minlength=n), 1)[:, None]


def judge_home(contexts: Sequence[Context], left_out: Mapping[str, str], *, seed: int) -> HomeConcept:
    """Judge home over contexts; refused, with the reasons, where fewer than two could be made."""
    if len(contexts) < 2:
        why = "; ".join(left_out.values()) or "there is one context alone"
        said = f"fewer than two contexts have {LEAST} prompts of each class ({why}); map with a larger preset"
        return HomeConcept(ConceptReport("refused", (said,), tuple(c.name for c in contexts), 0), dict(left_out))
    return HomeConcept(judge_concept(Contexts(tuple(contexts)), seed=seed), dict(left_out))


def concept_section(judged: Mapping[str, HomeConcept], *, layer: int, seed: int) -> Section:
    """The section ``concept`` of an identity.

    Args:
        judged: way of making contexts (``questions``, ``roles``) to what was found. ``layer``: decoder layer that was read.
    """
    return Section(
        1,
        {
            "layer": layer,
            "seed": seed,
            "by": {k: {**h.report.to_json(), "left_out": h.left_out} for k, h in judged.items()},
            "findings": {f"concept.{k}": h.report.finding(f"concept.{k}").to_json() for k, h in judged.items()},
        },
    )


def table(report: ConceptReport) -> list[dict[str, Any]]:
    """One row a pair of contexts, for a page or a terminal: names, and figures as values."""
    return [
        {
            "first": p.first,
            "second": p.second,
            "raw": p.raw.value,
            "ceiling": p.ceiling.value,
            "cosine": p.cosine.value,
            "low": p.cosine.low,
            "high": p.cosine.high,
            "auroc_lost": max(e.value for e in p.lost),
        }
        for p in report.pairs
    ]
