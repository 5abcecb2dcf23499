"""The likelihood judge: what it masks, what it contrasts, and when it may filter."""

from __future__ import annotations

import math
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from homing.errors import InputError
from homing.identity.work import WorkDir
from homing.models.sources import wrap
from homing.persona import judge
from homing.persona.judge import GoldReply, gate, in_role_scores, load_gold, rule_scores
from homing.persona.roles import Role, load_roles
from homing.testing.tiny import tiny_llama


def gold_of(n_roles: int = 24, each: int = 8, disagree: float = 0.0, seed: int = 0) -> tuple[GoldReply, ...]:
    rng = np.random.default_rng(seed)
    out = []
    for r in range(n_roles):
        for k in range(each):
            a = k % 2 == 0
            b = a if rng.random() >= disagree else not a
            out.append(GoldReply(f"{r}-{k}", f"role-{r}", "Why?", "text", (a, b), "written"))
    return tuple(out)


def test_the_words_of_the_role_do_not_count() -> None:
    pieces = ("I", " am", " a", " pir", "ate", ",", " pirates", " sail")
    logprobs = np.array([-1, -1, -1, -50, -50, -1, -50, -1], np.float32)
    assert judge._masked_mean(logprobs, pieces, ("pirate",)) == pytest.approx(-1.0)
    assert judge._masked_mean(logprobs, pieces, ("PIRATE",)) == pytest.approx(-1.0)
    assert judge._masked_mean(logprobs, pieces, ("irate",)) == pytest.approx(
        float(logprobs.mean())
    )  # stems start words
    # a reply of nothing but its role's words is scored whole rather than not at all
    assert judge._masked_mean(logprobs[3:5], ("pir", "ate"), ("pirate",)) == pytest.approx(-50.0)
    assert math.isnan(judge._masked_mean(np.zeros(0, np.float32), (), ("pirate",)))
    with pytest.raises(InputError, match="2 pieces and 3 log-probabilities"):
        judge._masked_mean(np.zeros(3, np.float32), ("a", "b"), ())


def test_a_word_with_signs_of_its_own_is_taken_literally() -> None:
    assert judge._masked_mean(np.array([-9, -1], np.float32), ("c.o", " cxo"), ("c.o",)) == pytest.approx(-1.0)


@pytest.mark.parametrize("x", [[-1.0], [-1.0, -3.0, -2.0], [-2000.0, -2001.0], [3.0, -900.0]])
def testlog_mean_exp_is_exact_and_does_not_underflow(x: list[float]) -> None:
    value = judge.log_mean_exp(np.array(x))
    shifted = np.exp(np.array(x) - max(x)).mean()
    assert value == pytest.approx(max(x) + math.log(shifted))
    assert min(x) - 1e-12 <= value <= max(x)


def test_the_gate_passes_what_separates_and_fails_noise() -> None:
    gold = gold_of()
    truth = np.array([g.labels[0] for g in gold])
    rng = np.random.default_rng(1)
    good = gate(truth * 4.0 + rng.standard_normal(len(gold)) - 7.0, gold, seed=0)
    assert good.passed
    assert good.balanced_accuracy.value > 0.9
    assert -7.0 < good.threshold < -3.0
    assert good.kappa == pytest.approx(1.0)
    noise = gate(rng.standard_normal(len(gold)), gold, seed=0)
    assert not noise.passed
    assert noise.balanced_accuracy.low < 0.5 < noise.balanced_accuracy.high
    inverted = gate(-(truth * 4.0) + rng.standard_normal(len(gold)), gold, seed=0)
    assert not inverted.passed
    assert good.balanced_accuracy.n == 12  # clusters of the held-out half: roles, not replies


def test_labellers_who_disagree_by_chance_have_no_kappa_and_their_replies_do_not_gate() -> None:
    gold = gold_of(disagree=0.5, seed=3)
    truth = np.array([g.labels[0] for g in gold])
    found = gate(truth * 4.0 + np.random.default_rng(2).standard_normal(len(gold)), gold, seed=0)
    assert abs(found.kappa) < 0.25
    assert found.agreement.low < 0.5 < found.agreement.high
    raw = found.to_json()
    assert raw["passed"] == found.passed
    assert raw["balanced_accuracy"]["n"] == found.balanced_accuracy.n


def test_scores_that_are_missing_do_not_gate() -> None:
    gold = gold_of()
    scores = np.array([4.0 if g.labels[0] else 0.0 for g in gold]) + np.random.default_rng(0).normal(0, 0.1, len(gold))
    scores[::5] = np.nan
    assert gate(scores, gold, seed=0).balanced_accuracy.value == pytest.approx(1.0)


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_too_little_gold_is_one_sentence(n: int) -> None:
    gold = gold_of(4, 1)[:n]
    with pytest.raises(InputError, match=f"{n} gold replies of {n} roles are too few to gate the judge"):
        gate(np.arange(n, dtype=float), gold, seed=0)


def test_the_shipped_gold_set() -> None:
    gold = load_gold()
    assert len(gold) == 220
    assert len({g.id for g in gold}) == 220
    assert {g.origin for g in gold} <= {"model", "written"}
    assert {g.role for g in gold} <= {r.id for r in load_roles()}
    a = np.array([g.labels[0] for g in gold])
    b = np.array([g.labels[1] for g in gold])
    chance = a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
    assert ((a == b).mean() - chance) / (1 - chance) > 0.4
    assert 0.2 < a.mean() < 0.8
    assert all(g.reply.strip() and g.question.strip() for g in gold)


@pytest.mark.parametrize("damage", ["{", "{}", '{"id": 1, "labels": [true]}', "[]"])
def test_a_damaged_gold_line_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    whole = (resources.files("homing.persona") / "data" / "gold.jsonl").read_text("utf-8").splitlines()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "gold.jsonl").write_text("\n".join([*whole[:2], damage, *whole[3:]]), "utf-8")
    monkeypatch.setattr(judge, "files", lambda _: tmp_path)
    with pytest.raises(InputError, match="line 3 cannot be read") as e:
        load_gold()
    assert "\n" not in str(e.value)


ROLES = tuple(
    Role(f"r{i}", f"R{i}", "k", tuple(f"{chr(97 + i) * 9} {v}" for v in "xyz"), (f"word{i}",)) for i in range(20)
)


async def test_scores_contrast_the_own_role_with_others_and_home(tmp_path: Path) -> None:
    """Against the definition, computed one context at a time."""
    from homing.conversation import Conversation, Message
    from homing.stats.seeds import stable_seed

    model = wrap(*tiny_llama(), name="tiny")
    items = [(ROLES[0], 1, "Why?", "aaa bbb"), (ROLES[7], 2, "Why?", "ccc word7 d"), (ROLES[3], 0, "How?", "xyz")]
    with WorkDir(tmp_path, {"a": 1}) as work:
        scores = await in_role_scores(
            model, items, pool=ROLES, home=(Message("system", "calm"),), work=work, name="judge", seed=4
        )
        again = await in_role_scores(
            model, items, pool=ROLES, home=(Message("system", "calm"),), work=work, name="judge", seed=4
        )

    async def alone(system: str, question: str, reply: str, words: tuple[str, ...]) -> float:
        prompt = Conversation((Message("system", system), Message("user", question)))
        logprobs = (await model.score_replies([prompt], [[reply]]))[0][0]
        return judge._masked_mean(logprobs, model.pieces(reply), words)

    for (role, prompt, question, reply), score in zip(items, scores, strict=True):
        rng = np.random.default_rng(stable_seed("judge", 4, question))
        drawn = [ROLES[int(i)] for i in rng.permutation(len(ROLES))[:17]]
        others = [r for r in drawn if r.id != role.id][:16]
        against = [await alone(r.prompts[0], question, reply, role.words) for r in others]
        against.append(await alone("calm", question, reply, role.words))
        assert len(against) == 17
        mine = await alone(role.prompts[prompt], question, reply, role.words)
        assert score == pytest.approx(mine - judge.log_mean_exp(np.array(against)), abs=1e-4)
    assert np.array_equal(scores, again)
    await model.close()


async def test_an_empty_reply_has_no_score(tmp_path: Path) -> None:
    model = wrap(*tiny_llama(), name="tiny")
    with WorkDir(tmp_path, {"a": 1}) as work:
        scores = await in_role_scores(
            model, [(ROLES[0], 0, "Why?", ""), (ROLES[1], 0, "Why?", "abc")], pool=ROLES, home=(), work=work,
            name="judge", seed=0,
        )  # fmt: skip
    assert np.isnan(scores[0])
    assert np.isfinite(scores[1])
    await model.close()


def test_rules_know_words_and_refusals_and_stand_before_the_same_gate() -> None:
    role = next(r for r in load_roles() if r.id == "astronomer")
    word = role.words[0]
    said = [f"I watch the {word} all night.", "Here is a list of facts.", f"As an AI, I have no {word}."]
    inside, outside, refused = rule_scores([(role, 0, "Why?", text) for text in said])
    assert inside > outside > refused
    gold = load_gold()
    roles = {r.id: r for r in load_roles()}
    judged = gate(rule_scores([(roles[g.role], 0, g.question, g.reply) for g in gold]), gold, seed=0)
    assert judged.passed == (judged.balanced_accuracy.low >= 0.70)  # the gate decides, not we
    assert judged.sensitivity.n + judged.specificity.n > 80
