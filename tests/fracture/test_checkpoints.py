"""Two checkpoints whose insides are planted: the verdict is known beforehand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from homing.fracture.checkpoint_figures import (
    Insides,
    Layout,
    arrives,
    backwards,
    best_block,
    over_contexts,
    within,
)
from homing.fracture.checkpoints import Compared, compare_concept, overall, unanswered
from homing.fracture.concept_contexts import Units
from homing.fracture.concept_cosine import cosines

CONCEPTS, CONTEXTS, N, DIM = 2, 4, 32, 64


def layout(concepts: int = CONCEPTS) -> Layout:
    k = concepts * CONTEXTS
    names = tuple(f"c{i // CONTEXTS}/g{i % CONTEXTS}" for i in range(k))
    context = np.repeat(np.arange(k), 2 * N)
    positive = np.tile(np.repeat([True, False], N), k)
    return Layout(names, tuple(n.split("/")[0] for n in names), context, positive, np.arange(len(context)) % 2 == 1)


def directions(rng: np.random.Generator, count: int, share: float) -> np.ndarray:
    """Unit directions of every context; within a concept their cosine is ``share``."""
    basis = np.linalg.qr(rng.standard_normal((DIM, DIM)))[0]
    out, at = [], 0
    for _ in range(count):
        common, own = basis[at], basis[at + 1 : at + 1 + CONTEXTS]
        out += [np.sqrt(share) * common + np.sqrt(1 - share) * o for o in own]
        at += 1 + CONTEXTS
    return np.array(out)


def inside(
    at: Layout,
    *,
    share: float = 1.0,
    transfer: float | None = None,
    seed: int = 0,
    right: float = 0.9,
    noise: float = 0.6,
) -> Insides:
    """``share``: cosine of contexts, in stream and gradients alike. ``right``: answers that are right."""
    rng = np.random.default_rng(seed)
    concepts = len(set(at.concept))
    d = directions(rng, concepts, share)
    n = len(at.context)
    stream = at.signs[:, None] * d[at.context] + noise * rng.standard_normal((n, DIM)) / np.sqrt(8)
    grads = at.signs[:, None] * d[at.context] + noise * rng.standard_normal((n, DIM)) / np.sqrt(8)
    said = at.signs * np.where(rng.random(n) < right, 1.0, -1.0) * (0.5 + rng.random(n))
    arrives = share if transfer is None else transfer
    same = np.arange(len(at.names))[:, None] == at.context[None]
    ratio = np.where(same, 1.0, arrives) + 0.05 * rng.standard_normal((len(at.names), n))
    other = np.array(at.concept)[:, None] != np.array(at.concept)[at.context][None]
    changes = np.where(other | ~at.held, np.nan, ratio)
    return Insides(said, stream, grads @ grads.T, 0.5 * changes * at.signs, 0.5 * changes)


def compared(a: Insides, b: Insides, at: Layout | None = None, name: str = "c0") -> Compared:
    return compare_concept(name, at or layout(), a, b, seed=0)


def test_one_and_itself_is_the_same():
    at = layout()
    found = compared(inside(at), inside(at))
    assert found.verdict == "same" and found.figures["flips"]["change"].value == 0
    assert found.figures["kl"]["change"].value == 0 and found.figures["axis"]["change"].value == pytest.approx(1)
    f = found.figures
    for key in ("cosine", "coupling", "kappa", "edit_transfer", "steering_transfer"):
        e = f[key]["a"]
        assert e.low <= 1 <= e.high and abs(e.value - 1) < 0.05, (key, e)
        assert f[key]["change"].value == 0
    for key in ("cosine_unrelated", "coupling_null"):
        assert abs(f[key]["a"].value) < 0.1
    assert f["steered_backwards"]["a"].value == 0


def test_other_noise_and_the_same_inside_is_said_so():
    at = layout()
    a = inside(at, noise=0.3)
    b = replace(inside(at, noise=0.3, seed=1), said=a.said)
    found = compared(a, b)
    assert found.verdict == "same score, same inside", found.reasons
    assert "with their whole intervals" in found.reasons[0]


def test_what_holds_it_in_pieces_is_named():
    at = layout()
    one, pieces = inside(at, noise=0.3), inside(at, share=0.4, seed=2, noise=0.3)
    found = compared(one, replace(pieces, said=one.said))
    assert found.verdict == "same score, different inside" and "A holds it more in one piece" in found.reasons[0]
    for key, truth in (("cosine", -0.6), ("edit_transfer", -0.6), ("kappa", -0.6)):
        e = found.figures[key]["change"]
        assert abs(e.value - truth) < 0.05 and e.high < -0.5, (key, e)
    assert any("B, by itself: fractured" in r for r in found.reasons)
    back = compared(replace(pieces, said=one.said), one)
    assert "B holds it more in one piece" in back.reasons[0]


def test_what_arrives_elsewhere_is_covered():
    """Planted share 0.7, noise as large as what is planted: 95% intervals, 100 draws."""
    at, hits = layout(1), 0
    rng = np.random.default_rng(0)
    same = np.arange(CONTEXTS)[:, None] == at.context[None]
    for seed in range(100):
        changes = np.where(same, 1.0, 0.7) + rng.standard_normal((CONTEXTS, len(at.context)))
        value, draws = arrives(at, np.where(at.held, changes, np.nan), range(CONTEXTS), seed)
        low, high = np.quantile(draws, [0.025, 0.975])
        hits += low <= 0.7 <= high
        assert len(draws) == 500 and 0 < value < 2
    print(f"RESULT covered {hits} of 100")
    assert hits >= 88


def test_a_context_where_an_edit_does_little_does_not_rule_the_share():
    at = layout(1)
    home = np.arange(CONTEXTS)[:, None] == at.context[None]
    changes = np.where(home, 1.0, 0.5)
    changes[0] = np.where(home[0], 0.001, 0.5)  # a mean of ratios would be 125
    value, draws = arrives(at, np.where(at.held, changes, np.nan), range(CONTEXTS), 0)
    assert value == pytest.approx(0.5 / 0.75025) and np.isfinite(draws).all()
    value, _ = arrives(at, np.where(at.held, -changes, np.nan), range(CONTEXTS), 0)
    assert np.isnan(value), "an edit that goes backwards at home has nothing to carry"


def test_a_prompt_that_several_pushes_move_counts_once():
    at = layout(1)
    pushes = np.where(at.held, 1.0, np.nan)[None].repeat(CONTEXTS, axis=0)
    pushes[:3, (at.context == 3) & at.held] = -1.0
    found = backwards(at, pushes, range(CONTEXTS))
    assert found.n == int(at.held.sum()) == 128 and found.value == 0.25


@pytest.mark.parametrize("share", [1.0, 0.6])
def test_the_interval_of_a_change_covers_and_is_no_wider_than_need_be(share: float):
    """B is A with a little noise: the truth of the change is 0. 60 draws of prompts, 16 a class as few as may be."""
    rng, hits, own, wide = np.random.default_rng(0), 0, 0, []
    context, positive = np.repeat(np.arange(CONTEXTS), 32), np.tile(np.repeat([True, False], 16), CONTEXTS)
    at = Layout(tuple(f"c/{g}" for g in range(CONTEXTS)), ("c",) * CONTEXTS, context, positive, np.arange(128) % 2 == 1)
    for seed in range(60):
        d = directions(rng, 1, share)
        a = at.signs[:, None] * d[context] + 1.5 * rng.standard_normal((128, DIM)) / np.sqrt(8)
        b = a + 0.45 * rng.standard_normal((128, DIM)) / np.sqrt(8)
        found = {k: cosines(Units.of(at.contexts(x, range(4))), seed=seed, draws=200) for k, x in (("a", a), ("b", b))}
        made = over_contexts(found, lambda c: within(c, range(4)))
        hits += made["change"].low <= 0 <= made["change"].high
        own += made["a"].low <= share <= made["a"].high
        wide.append(made["change"].high - made["change"].low)
    print(f"RESULT change covered {hits} of 60, own {own} of 60, width {np.median(wide):.3f}")
    assert hits >= 54 and own >= 52
    assert np.median(wide) < 0.25


def test_figures_that_disagree_name_nobody():
    at = layout()
    one = inside(at, noise=0.3, transfer=0.2)
    pieces = replace(inside(at, share=0.4, transfer=0.9, seed=2, noise=0.3), said=one.said)
    found = compared(one, pieces)
    assert found.verdict == "same score, different inside" and "do not agree" in found.reasons[0]


def test_another_score_is_said_before_anything_of_the_inside():
    at = layout()
    found = compared(inside(at, right=0.97), inside(at, share=0.4, right=0.7, seed=3))
    assert found.verdict == "different score" and found.figures["accuracy_change"]["change"].high < 0
    few = compared(inside(at, right=0.9), inside(at, right=0.88, seed=4))
    assert few.verdict in ("not shown", "different score") and "accura" in few.reasons[0]


def test_who_does_not_answer_is_refused_by_name():
    at = layout()
    rng = np.random.default_rng(0)
    a, lost = inside(at).said, rng.standard_normal(len(at.context))
    assert unanswered("c0", at, a, a) is None
    found = unanswered("c0", at, a, lost)
    assert found is not None and found.verdict == "refused" and "AUROC of the read-out B 0." in found.reasons[0]
    both = unanswered("c0", at, lost, lost)
    assert both is not None and "A 0." in both.reasons[0] and "B 0." in both.reasons[0]
    # a level of its own in each context makes wrong answers, and is no want of knowledge
    shifted = a + 5.0 * (at.context % 3)
    assert unanswered("c0", at, a, shifted) is None


def test_a_context_without_a_direction_is_refused_and_one_without_gradients_has_no_kappa():
    at, a = layout(), inside(layout())
    b = inside(at, seed=1)
    empty = np.random.default_rng(5).standard_normal(b.stream.shape)
    found = compared(a, replace(b, said=a.said, stream=empty))
    assert found.verdict == "refused" and "B, c0/g0" in found.reasons[0]
    noise = np.random.default_rng(6).standard_normal(b.stream.shape)
    without = compared(a, replace(b, said=a.said, gram=noise @ noise.T))
    assert "kappa" not in without.figures and any("gradients" in r for r in without.reasons)


def test_one_concept_alone_has_no_null_and_no_kappa():
    at = layout(1)
    found = compared(inside(at), inside(at), at)
    assert "kappa" not in found.figures and "coupling" in found.figures
    assert any("no second concept" in r for r in found.reasons)


def test_gradients_that_all_share_are_no_unity():
    at = layout()
    a = inside(at)
    every = np.random.default_rng(0).standard_normal((len(at.context), DIM)) * 0.02
    every[:, 0] += at.signs
    found = compared(replace(a, gram=every @ every.T), replace(a, gram=every @ every.T))
    assert "kappa" not in found.figures and any("overlap by more than 0.9" in r for r in found.reasons)


def test_a_block_that_tells_classes_apart_by_unsure_directions_is_not_taken():
    """Few prompts of much noise in many directions: no error in the first block, and no direction to speak of."""
    at, rng = layout(), np.random.default_rng(1)
    sure = inside(at, noise=0.3).stream
    unsure = sure + 1.2 * rng.standard_normal(sure.shape)
    streams = np.stack([unsure, sure], axis=1).astype(np.float32)
    assert best_block(at, [streams, streams], seed=0) == 1
    # what is sure in the one checkpoint alone is not
    middle = 0.7 * sure + 0.3 * unsure
    a, b = (np.stack([x, middle], axis=1).astype(np.float32) for x in (sure, unsure))
    assert best_block(at, [a, b], seed=0) == 1


def test_the_block_is_the_first_of_the_surest_directions():
    at = layout()
    good, rng = inside(at).stream.astype(np.float32), np.random.default_rng(0)
    noise = rng.standard_normal(good.shape).astype(np.float32)
    streams = np.stack([noise, good + noise, good, good], axis=1)
    assert best_block(at, [streams, streams], seed=0) == 2


def test_overall_is_what_says_most_against_their_being_one():
    def of(*verdicts):
        return overall([Compared("x", v, ("y",)) for v in verdicts])

    assert of("same", "same score, different inside") == "same score, different inside"
    assert of("refused", "same") == "same" and of("refused", "refused") == "refused"
    assert of("not shown", "same score, same inside") == "not shown"
