"""What an engine proves when it opens: each thing that can be broken is broken here, and must be refused."""

import copy

import pytest
import torch
from torch import nn

from homing.engine.torch import TorchEngine, probe, selftest
from homing.engine.torch.probe import Plan, Probe
from homing.errors import LayersError, ModelError, Unsupported
from homing.testing.families import FAMILIES, family_model
from homing.testing.tiny import planted_model, tiny_llama, tiny_tokenizer


def proof_of(model, monkeypatch):
    """The proof of an engine that opens and is closed again."""
    seen = []
    prove = selftest.prove
    monkeypatch.setattr("homing.engine.torch.engine.prove", lambda runner: seen.append(prove(runner)) or seen[-1])
    TorchEngine(model, tiny_tokenizer(), slots=2).close_now()
    return seen[-1]


def refused(*words, kind):
    """Opening an engine is refused in one line with these words, and no hook stays behind."""
    model, tokenizer = tiny_llama()
    with pytest.raises(kind) as e:
        TorchEngine(model, tokenizer, slots=2)
    text = str(e.value)
    assert len(text.splitlines()) == 1, text
    for word in ("LlamaForCausalLM", *words):
        assert word in text, text
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("name", list(FAMILIES))
def test_no_sound_model_is_refused_for_its_digits(name, monkeypatch):
    """In 16 bits; every family is opened in float32 by other tests."""
    proof = proof_of(copy.deepcopy(family_model(name)).to(torch.bfloat16), monkeypatch)
    assert (proof.neutral, proof.arrives, proof.reads, proof.caps) == (True, True, True, True)


def test_a_model_with_one_layer_or_with_a_planted_axis(monkeypatch):
    assert proof_of(tiny_llama(layers=1)[0], monkeypatch).caps
    assert proof_of(tiny_llama()[0].to(torch.float16), monkeypatch).caps
    assert proof_of(planted_model(strength=40.0).model, monkeypatch).caps


def test_it_takes_a_handful_of_passes_however_deep_the_model(monkeypatch):
    passes = []
    for layers in (2, 12):
        model, _ = tiny_llama(layers=layers)
        count = [0]
        model.register_forward_pre_hook(lambda _m, _a, count=count: count.__setitem__(0, count[0] + 1))
        proof_of(model, monkeypatch)
        passes.append(count[0])
    assert passes[0] == passes[1] <= 16


def test_a_hook_that_does_nothing(monkeypatch):
    monkeypatch.setattr(Probe, "_hook", lambda *_: None)
    refused("gives no reading at layer 0", "homing doctor", kind=Unsupported)


def test_a_hook_that_changes_what_it_must_not(monkeypatch):
    hook = Probe._hook

    def loud(self, i, module, args, output):
        out = hook(self, i, module, args, output)
        return None if out is None else (out[0] * 1.001, *out[1:]) if isinstance(out, tuple) else out * 1.001

    monkeypatch.setattr(Probe, "_hook", loud)
    refused("strength zero changes the output", kind=LayersError)


@pytest.mark.parametrize("kind", ["floor", "ceiling"])
def test_a_cap_with_nothing_to_do_must_do_nothing(monkeypatch, kind):
    moved = probe._moved

    def restless(group, p, gates):
        d = moved(group, p, gates)
        return d + 0.01 if getattr(group, kind) is not None and bool((d == 0).all()) else d

    monkeypatch.setattr(probe, "_moved", restless)
    refused("strength zero changes the output", kind=LayersError)


def only(monkeypatch, acts):
    """The probe's hook returns what it made only where ``acts`` says so of plan and layer."""
    hook = Probe._hook

    def some(self, i, module, args, output):
        out = hook(self, i, module, args, output)
        return out if acts(self._plan, i) else None

    monkeypatch.setattr(Probe, "_hook", some)


def test_a_shift_that_does_not_arrive_anywhere(monkeypatch):
    only(monkeypatch, lambda _plan, _i: False)
    refused("a known shift does not arrive", "layers='path'", kind=LayersError)


@pytest.mark.parametrize("layer", [0, 2, 3])
def test_a_shift_that_does_not_arrive_at_one_layer(monkeypatch, layer):
    only(monkeypatch, lambda _plan, i: i != layer)
    refused("a known shift does not arrive", kind=LayersError)


def test_a_shift_that_arrives_in_a_prompt_and_not_in_a_step(monkeypatch):
    only(monkeypatch, lambda plan, _i: not plan.deferred)
    refused("a known shift does not arrive", kind=LayersError)


def test_readings_that_are_not_of_this_layer(monkeypatch):
    read = Probe._read_now
    monkeypatch.setattr(Probe, "_read_now", lambda *_: None)
    refused("gives no reading at layer 0", kind=Unsupported)
    monkeypatch.setattr(Probe, "_read_now", lambda self, plan, i, x: read(self, plan, i, x * (1.01 if i == 2 else 1)))
    refused("the reading at layer 2", "where it must be", kind=Unsupported)
    late = {}

    def off_by_one(self, plan, i, x):
        late[i] = x
        read(self, plan, i, late.get(i - 1, x))

    monkeypatch.setattr(Probe, "_read_now", off_by_one)
    refused("the reading at layer 1", kind=Unsupported)


def test_readings_of_a_step_that_are_wrong(monkeypatch):
    finish = Probe.finish

    def wrong(self, sums=None):
        deferred = self._plan is not None and self._plan.deferred
        out = finish(self, sums)
        if deferred and out.projections is not None:
            out.projections = out.projections[::-1].copy()
        return out

    monkeypatch.setattr(Probe, "finish", wrong)
    refused("the reading at layer 0", kind=Unsupported)

    def none(self, sums=None):
        out = finish(self, sums)
        out.projections = None
        return out

    monkeypatch.setattr(Probe, "finish", none)
    refused("the probe gives no reading of", kind=Unsupported)


def test_means_that_are_wrong(monkeypatch):
    plan_means = Plan._plan_means

    def halved(self, wants, present, read):
        plan_means(self, wants, present, read)
        if self.mean_layers and not self.deferred:
            self.mean_masks = self.mean_masks * 0.5

    monkeypatch.setattr(Plan, "_plan_means", halved)
    refused("the mean at layer 0", kind=Unsupported)


@pytest.mark.parametrize("kind", ["floor", "ceiling"])
@pytest.mark.parametrize("wrong", [0.0, -1.0, 0.9], ids=["does nothing", "wrong way", "too little"])
def test_a_cap_that_does_not_hold(monkeypatch, kind, wrong):
    moved = probe._moved

    def weak(group, p, gates):
        d = moved(group, p, gates)
        hers = (d > 0) if kind == "floor" else (d < 0)
        return torch.where(hers, d * wrong, d) if group.add is None else d

    monkeypatch.setattr(probe, "_moved", weak)
    refused(f"the reading under a {kind} at layer 0", "where it must be", "homing doctor", kind=Unsupported)


def test_a_cap_that_does_not_hold_in_a_step(monkeypatch):
    group = Plan._group

    def forgets(self, layer, members, slot, codes):
        out = group(self, layer, members, slot, codes)
        if self.deferred and layer == 2 and out.floor is not None:
            out.floor = torch.full_like(out.floor, float("-inf"))
        return out

    monkeypatch.setattr(Plan, "_group", forgets)
    refused("the reading under a floor at layer 2", kind=Unsupported)


def test_a_log_of_what_was_moved_that_is_wrong(monkeypatch):
    finish = Probe.finish

    def silent(self, sums=None):
        out = finish(self, sums)
        if out.fired is not None:
            out.fired = out.fired * 0
        return out

    monkeypatch.setattr(Probe, "finish", silent)
    refused("said to be moved by a floor", kind=Unsupported)


def test_layers_that_are_run_and_not_heard(monkeypatch):
    """What was found at first is no longer what runs: the hooks are on modules that nobody calls."""
    model, tokenizer = tiny_llama()
    from homing.engine.torch import engine

    find = engine.find

    def stale(model, *, layers=None):
        found = find(model, layers=layers)
        model.model.layers = nn.ModuleList([*tiny_llama(seed=3)[0].model.layers])
        return found

    monkeypatch.setattr(engine, "find", stale)
    with pytest.raises((ModelError, Unsupported), match="LlamaForCausalLM"):
        TorchEngine(model, tokenizer, slots=2)
