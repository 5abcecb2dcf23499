"""fracture compare on the embedded model and copies of it whose insides are known."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from tests.cli.schemas import validate

from homing.errors import InputError
from homing.fracture.checkpoint_figures import best_block
from homing.fracture.concept_contexts import Context, Contexts, Units
from homing.fracture.concept_cosine import cosines
from homing.fracture.concept_file import _BAD, _GOOD, ConceptPrompts, example_concepts
from homing.fracture.decoder import Decoder, fix_gauge
from homing.fracture.decoder_read import Prompt, read
from homing.fracture.decoder_truth import rotated
from homing.testing.tiny import tiny_llama
from homing.verbs import fracture_compare
from homing.verbs.fracture_compare import compare_checkpoints, compare_decoders, compare_text

TWO = [replace(c, contexts=dict(list(c.contexts.items())[:2])) for c in example_concepts(prompts=16)]
FOUR = example_concepts(prompts=16)
Opened = Callable[..., tuple[Decoder, list[Prompt]]]


@pytest.fixture
def opened(smol: Path) -> Opened:
    def of(named: list[ConceptPrompts]) -> tuple[Decoder, list[Prompt]]:
        return fracture_compare._open("A", str(smol), named, 2)

    return of


def compared(a: Decoder, b: Decoder, named: list[ConceptPrompts], prompts: list[Prompt]) -> dict:
    found = {"schema": fracture_compare.SCHEMA, "a": "a", "b": "b", **compare_decoders(a, b, named, prompts)}
    validate("fracture-compare", json.loads(json.dumps(found)))
    print("RESULT", compare_text(found))
    return found


def another(of: Decoder) -> Decoder:
    return Decoder.of(copy.deepcopy(of.model))


def test_a_rotated_copy_reads_as_the_same(opened: Opened):
    a, prompts = opened(TWO)
    b = another(a)
    fix_gauge(b)
    rotated(b, seed=1)
    found = compared(a, b, TWO, prompts)
    assert found["verdict"] == "same"
    for c in found["concepts"]:
        moved = {k: row["change"]["value"] for k, row in c["figures"].items() if "a" in row and "change" in row}
        assert max(map(abs, moved.values())) <= 1e-4, moved
        assert c["figures"]["axis"]["change"]["value"] >= 0.9999
    assert found["panel"]["intruders"]["value"] == 0 and found["panel"]["basis"]["value"] > 0.9999


def test_a_random_copy_is_refused_by_name(opened: Opened):
    a, prompts = opened(TWO)
    torch.manual_seed(0)
    b = Decoder.of(type(a.model)(a.model.config).float().eval())  # pyright: ignore[reportCallIssue]
    found = compared(a, b, TWO, prompts)
    assert found["verdict"] == "refused" and found["block"] is None
    assert all("read-out B" in c["reasons"][0] and c["figures"]["auroc"]["a"]["low"] > 0.8 for c in found["concepts"])


def int8(of: Decoder) -> Decoder:
    """Each row of every matrix to the nearest of 255 steps."""
    out = another(of)
    with torch.no_grad():
        for _, _, m in out.matrices():
            step = m.weight.abs().amax(dim=1, keepdim=True) / 127
            m.weight.copy_((m.weight / step).round() * step)
    return out


def pruned(of: Decoder, share: float) -> Decoder:
    """The smallest weights of each matrix are 0."""
    out = another(of)
    with torch.no_grad():
        for _, _, m in out.matrices():
            m.weight[m.weight.abs() < torch.quantile(m.weight.abs().flatten()[:1_000_000], share)] = 0
    return out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (int8, ("same score, same inside", "not shown")),
        # whether its score is the same is for the figures to say
        (lambda a: pruned(a, 0.1), ("same score, same inside", "different score", "not shown")),
    ],
    ids=["int8", "pruned"],
)
def test_a_smaller_copy_has_the_same_inside(opened: Opened, make: Callable[[Decoder], Decoder], said: tuple[str, ...]):
    """The insides are no more apart than the rule takes."""
    a, prompts = opened(FOUR)
    found = compared(a, make(a), FOUR, prompts)
    assert found["verdict"] in said
    for c in found["concepts"]:
        assert c["figures"]["flips"]["change"]["value"] < 0.1 and c["figures"]["axis"]["change"]["value"] > 0.9
        for k in ("cosine", "kappa", "edit_transfer"):
            assert abs(c["figures"][k]["change"]["value"]) < 0.1, (c["name"], k)
    praise, animal = ({k: c["figures"][k]["b"]["low" if i == 0 else "high"] for k in ("kappa", "edit_transfer")}
                      for i, c in enumerate(found["concepts"]))  # fmt: skip
    assert all(praise[k] > animal[k] for k in praise), "one holds together over its contexts, and the other does not"


def test_paraphrases_share_a_direction_and_unrelated_concepts_do_not(opened: Opened):
    """C5 of the research page, and its control."""
    named = [*TWO]
    a, prompts = opened(named)
    layout = fracture_compare._layout(named)
    fix_gauge(a)
    _, streams = read(a, prompts)
    x = streams[:, 20].astype(np.float64)
    contexts = layout.contexts(x, range(4))
    found = cosines(Units.of(contexts), seed=0)
    names = contexts.names
    within = {names[g].split("/")[0]: float(found.truth[g, g + 1]) for g in (0, 2)}
    across = [float(found.truth[g, h]) for g in (0, 1) for h in (2, 3)]
    print("RESULT within", within, "across", across)
    assert max(map(abs, across)) <= 0.3
    assert isinstance(contexts, Contexts) and isinstance(contexts.contexts[0], Context)


def paraphrased() -> ConceptPrompts:
    """Whether a sentence praises, after two worked examples, in four ways of writing it down, each with things of its own."""
    good, bad = _GOOD[:16], _BAD[:16]
    things = {
        "->": "soup,bread,salad,cake,coffee,stew,cheese,curry,sauce,pie,rice,fish,pasta,wine,tea,dessert",
        "=": "plot,acting,film,ending,script,scene,story,cast,dialogue,director,camera,costume,trailer,sequel,score,hero",
        "-": "room,bed,lobby,pool,staff,view,bathroom,carpet,towel,balcony,lift,garden,bar,parking,pillow,shower",
        "/": "coat,shirt,dress,hat,scarf,jacket,shoe,belt,glove,skirt,sweater,suit,sock,tie,boot,blouse",
    }
    rng, contexts = np.random.default_rng(0), {}
    for sign, nouns in things.items():
        form = f"The tune was nice. {sign} good\nThe road was noisy. {sign} bad\nThe {{}} was {{}}. {sign}"
        contexts[sign] = tuple(
            tuple(
                form.format(n, w)
                for n, w in zip(rng.permutation(nouns.split(",")), rng.permutation(words), strict=True)
            )
            for words in (good, bad)
        )
    return ConceptPrompts("mood", (" good", " bad"), contexts)


def test_ways_of_asking_one_thing_are_one_direction(opened: Opened):
    """C5 of the research page: paraphrase contexts have a corrected cosine of at least 0.9."""
    named = [paraphrased()]
    a, prompts = opened(named)
    fix_gauge(a)
    said, streams = read(a, prompts)
    layout = fracture_compare._layout(named)
    block = best_block(layout, [streams], seed=0)
    found = cosines(Units.of(layout.contexts(streams[:, block].astype(np.float64), range(4))), seed=0)
    right = float(((said > 0) == layout.positive).mean())
    print(f"RESULT paraphrases: right {right:.2f}, block {block}, corrected cosine {found.mean():.3f}")
    assert right > 0.8 and found.mean().value >= 0.9 and found.mean().low >= 0.85


def saved(directory: Path, **changed: int) -> str:
    model, tokenizer = tiny_llama(**changed)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return str(directory)


def test_bad_pairs_are_one_sentence(tmp_path: Path):
    file = tmp_path / "c.json"
    file.write_text(json.dumps({"concepts": [c.to_json() for c in example_concepts(prompts=16)]}))
    a = saved(tmp_path / "a")
    # one token a byte, and both options of an example begin with a space
    with pytest.raises(InputError, match="begin with the same token of A"):
        compare_checkpoints(a, a, file)
    own = [replace(c, options=("yes", "no")) for c in example_concepts(prompts=16)]
    file.write_text(json.dumps({"concepts": [c.to_json() for c in own]}))
    b = saved(tmp_path / "b", layers=3)
    with pytest.raises(InputError, match="A and B are of different shape"):
        compare_checkpoints(a, b, file)
    found = compare_checkpoints(a, a, file)
    validate("fracture-compare", json.loads(json.dumps(found)))
    assert found["verdict"] == "refused", "a random model tells nothing apart"
    assert "REFUSED" in compare_text(found)


def test_an_option_is_read_where_it_stands(opened: Opened):
    """The first token of an option is the one behind the prompt; one that would change the prompt's own tokens is refused."""
    good = TWO[0]
    _, prompts = opened([good])
    assert {(p.first, p.second) for p in prompts} == {(1123, 3309)}  # " good" and " bad"
    ends = {k: tuple(tuple(f"{t} most" for t in side) for side in sides) for k, sides in good.contexts.items()}
    with pytest.raises(InputError, match="option 'ly' runs together with the end of a prompt"):
        opened([ConceptPrompts("most", ("ly", " bad"), cast("Any", ends))])
    with pytest.raises(InputError, match="begin with the same token"):
        opened([replace(good, options=(" good", " good enough"))])


def test_damaged_weights_and_chats_are_told(tmp_path: Path):
    named = [ConceptPrompts(c.name, ("yes", "no"), c.contexts, chat=True) for c in TWO]
    model, tokenizer = tiny_llama()
    model.save_pretrained(tmp_path / "a")
    tokenizer.save_pretrained(tmp_path / "a")
    a, prompts = fracture_compare._open("A", str(tmp_path / "a"), named, 1)
    assert all(len(p.tokens) > 40 for p in prompts), "a user's message in the template"
    for part in ("down", "v"):
        b = another(a)
        with torch.no_grad():
            b.blocks[0].matrix(part).weight[0, 0] = float("nan")
        with pytest.raises(InputError, match=rf"B has weights that are not finite \(model.layers.0.*{part}_proj"):
            compare_decoders(a, b, named, prompts)
