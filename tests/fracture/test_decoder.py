"""A decoder's gauges, doses and gradients, on small random models in float64 where the truth is exact."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from homing.errors import InputError
from homing.fracture.decoder import Decoder, fix_gauge
from homing.fracture.decoder_read import Prompt, edited, gradient_gram, mean_gradient, read, steered
from homing.fracture.decoder_truth import DECODER_GAUGES, cloned, entangled, fractured, padded, rotated
from homing.fracture.intruders import panel, spectra

VOCAB = 50


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transformers works out a norm in float32 whatever the weights are; here it is as exact as they."""

    def forward(self: LlamaRMSNorm, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)

    monkeypatch.setattr(LlamaRMSNorm, "forward", forward)


def small(*, seed: int = 0, tied: bool = True, dtype: torch.dtype = torch.float64) -> Decoder:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=tied, initializer_range=0.2,
    )  # fmt: skip
    model = LlamaForCausalLM(config).to(dtype).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name:
                p.copy_(1 + 0.5 * torch.rand_like(p))
    return Decoder.of(model)


def prompts(n: int = 24, *, seed: int = 0) -> list[Prompt]:
    rng = np.random.default_rng(seed)
    return [Prompt(tuple(rng.integers(VOCAB, size=4 + i % 3).tolist()), 3, 7) for i in range(n)]


def logits(decoder: Decoder) -> torch.Tensor:
    ids = torch.arange(40).reshape(4, 10)
    with torch.no_grad():
        return decoder.model(input_ids=ids).logits  # pyright: ignore[reportCallIssue]


def cosines(gram: np.ndarray) -> np.ndarray:
    d = np.sqrt(np.diagonal(gram))
    return gram / np.outer(d, d)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_fixing_the_gauge_and_every_gauge_leave_all_outputs(tied: bool, dtype: torch.dtype, bound: float):
    decoder = small(tied=tied, dtype=dtype)
    before = logits(decoder)
    scale = float(before.abs().max())
    fix_gauge(decoder)
    assert float((logits(decoder) - before).abs().max()) <= bound * scale
    for name, change in DECODER_GAUGES.items():
        other = Decoder.of(copy.deepcopy(decoder.model))
        change(other)
        # values are stretched by up to e^2 each way, which takes digits in single precision
        assert float((logits(other) - before).abs().max()) <= (10 if dtype == torch.float32 else 1) * bound * scale, (
            name
        )
        assert any(
            a[2].weight.shape != b[2].weight.shape or not torch.equal(a[2].weight, b[2].weight)
            for a, b in zip(decoder.matrices(), other.matrices(), strict=True)
        ), name


def test_gradients_overlap_alike_in_every_gauge():
    some = prompts()
    base = small()
    fix_gauge(base)
    truth = cosines(gradient_gram(base, some, [0, 1, 2]))
    for name, change in DECODER_GAUGES.items():
        other = Decoder.of(copy.deepcopy(base.model))
        change(other)
        raw = cosines(gradient_gram(other, some, [0, 1, 2]))
        fix_gauge(other)
        found = cosines(gradient_gram(other, some, [0, 1, 2]))
        bound = 1e-6 if name[:2] in ("G1", "G2", "G3") else 0.02
        assert float(np.abs(found - truth).max()) <= bound, name
        if name[:2] == "G2":
            assert float(np.abs(raw - truth).max()) > 0.05, "without fixing it the gauge moves the score"


def test_inner_products_are_those_of_the_gradients():
    decoder, some = small(), prompts(6)
    fix_gauge(decoder)
    weights = [m.weight for i, _, m in decoder.matrices() if i in (0, 2)]
    rows = []
    for p in some:
        out = decoder.model(input_ids=torch.tensor([p.tokens])).logits[0, -1]  # pyright: ignore[reportCallIssue]
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(out[p.first] - out[p.second], weights)]))
    every = torch.stack(rows)
    gram = gradient_gram(decoder, some, [0, 2])
    assert np.allclose(gram, (every @ every.T).numpy(), rtol=1e-4, atol=1e-6)
    signs = [1.0, -1.0] * 3
    mine = torch.cat([g.flatten() for g in mean_gradient(decoder, some, signs)])
    whole = [m.weight for _, _, m in decoder.matrices()]
    total = sum(
        s * (lambda o: o[p.first] - o[p.second])(decoder.model(input_ids=torch.tensor([p.tokens])).logits[0, -1])  # pyright: ignore[reportCallIssue]
        for p, s in zip(some, signs, strict=True)
    )
    assert torch.allclose(mine, torch.cat([g.flatten() for g in torch.autograd.grad(total / 6, whole)]))


def test_an_edit_moves_what_it_says_and_is_put_back_and_a_push_goes_away():
    decoder, some = small(), prompts(8)
    fix_gauge(decoder)
    before, stream = read(decoder, some)
    assert stream.shape == (8, 3, 32)
    step = mean_gradient(decoder, some, [1.0] * 8)
    length = sum(float((t**2).sum()) for t in step)
    with edited(decoder, step, 1e-3 / length):
        assert float((read(decoder, some)[0] - before).mean()) == pytest.approx(1e-3, rel=0.05)
    assert np.array_equal(read(decoder, some)[0], before)
    with steered(decoder, 1, np.full(32, 0.3)):
        assert np.abs(read(decoder, some)[0] - before).max() > 1e-3
    assert np.array_equal(read(decoder, some)[0], before)


def dosed_gradient(decoder: Decoder, mlps: tuple, p: Prompt, context: bool, second: int = 7) -> torch.Tensor:
    for m in mlps:
        m.context = torch.tensor([context])
    weights = [q for n, q in decoder.model.named_parameters() if "layers" in n and "norm" not in n]
    out = decoder.model(input_ids=torch.tensor([p.tokens])).logits[0, -1]  # pyright: ignore[reportCallIssue]
    grads = torch.autograd.grad(out[p.first] - out[second], weights, allow_unused=True)
    return torch.cat([(torch.zeros_like(w) if g is None else g).flatten() for g, w in zip(grads, weights, strict=True)])


def test_a_dose_of_fracture_moves_coupling_and_no_output():
    some, found = prompts(12), []
    for q in (0.0, 0.25, 0.5, 0.75, 1.0):
        decoder = small()
        fix_gauge(decoder)
        before = logits(decoder)
        mlps = fractured(decoder, q, seed=3)
        for context in (False, True):
            for m in mlps:
                m.context = torch.tensor([context])
            assert float((logits(decoder) - before).abs().max()) <= 1e-10 * float(before.abs().max())
        pairs = [[dosed_gradient(decoder, mlps, p, c) for c in (False, True)] for p in some]
        found.append(float(np.median([float(torch.cosine_similarity(a, b, dim=0)) for a, b in pairs])))
    print("RESULT coupling by dose:", [round(x, 3) for x in found])
    assert found[0] == pytest.approx(1.0, abs=1e-9) and all(a > b for a, b in itertools.pairwise(found))


def test_a_dose_of_entanglement_moves_entanglement_and_no_output():
    some, found = prompts(12), []
    for gamma in (0.0, 0.5, 1.0, 2.0, 4.0):
        decoder = small()
        fix_gauge(decoder)
        before = logits(decoder)
        entangled(decoder, gamma, seed=3)
        assert float((logits(decoder) - before).abs().max()) <= 1e-10 * float(before.abs().max())
        pairs = [
            (dosed_gradient(decoder, (), p, False), dosed_gradient(decoder, (), p, False, second=11)) for p in some
        ]
        found.append(float(np.mean([abs(float(torch.cosine_similarity(a, b, dim=0))) for a, b in pairs])))
    print("RESULT entanglement of two read-outs by gain:", [round(x, 3) for x in found])
    assert all(a < b for a, b in itertools.pairwise(found)) and found[-1] - found[0] > 0.1


def test_singular_vectors_lie_over_each_other_in_any_basis_and_strange_ones_are_found():
    base = small()
    fix_gauge(base)
    other, strange = Decoder.of(copy.deepcopy(base.model)), Decoder.of(copy.deepcopy(base.model))
    rotated(other, seed=1)
    same = panel(spectra(base, top=4), spectra(other, top=4))
    assert same.intruders.value == 0 and same.overlap.value == pytest.approx(1, abs=1e-4)
    assert same.basis.value == pytest.approx(1, abs=1e-6)
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _, _, m in strange.matrices():  # one strong direction more in every matrix
            u, v = torch.randn(m.weight.shape[0], generator=rng), torch.randn(m.weight.shape[1], generator=rng)
            m.weight += (20 * torch.outer(u / u.norm(), v / v.norm())).to(m.weight)
    odd = panel(spectra(base, top=4), spectra(strange, top=4))
    assert odd.intruders.value >= 0.2 and odd.basis.value == pytest.approx(1, abs=1e-9)


def test_what_cannot_be_treated_is_said_in_a_sentence():
    with pytest.raises(InputError, match=r"is a GPT2LMHeadModel, and it has no model.layers"):
        Decoder.of(GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=16, vocab_size=VOCAB)))
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        attention_bias=True,
    )
    with pytest.raises(InputError, match=r"block 0 has other parts .*bias"):
        Decoder.of(LlamaForCausalLM(config))
    with pytest.raises(InputError, match="fold them first"):
        rotated(small())
    with pytest.raises(InputError, match=r"a dose of 1\.5"):
        fractured(small(), 1.5)
    broken = small()
    with torch.no_grad():
        broken.blocks[1].o.weight[0, 0] = float("nan")
    with pytest.raises(InputError, match="is not finite"):
        gradient_gram(broken, prompts(4), [0, 1])
    assert cloned and padded
