import pytest
import torch
from torch import nn

from homing.engine.torch.engine import TorchEngine
from homing.engine.torch.layers import find, find_layers
from homing.errors import LayersError, Unsupported
from homing.testing.families import FAMILIES, family_model, family_table
from homing.testing.tiny import tiny_llama, tiny_tokenizer


def test_every_family_is_found_by_structure():
    table = family_table()
    assert len(table) >= 14 and [f.name for f in table] == list(FAMILIES)
    assert {f.result for f in table} == {"works"}
    assert all(f.layers == 3 for f in table)  # the vision towers have five


def test_named_layers_and_unknown_names():
    model, _ = tiny_llama()
    found = find(model, layers="model.layers")
    assert found.how == "named" and len(found.layers) == 4
    assert find_layers(model) == list(found.layers)
    with pytest.raises(LayersError, match=r"no ModuleList at 'model.blocks'; it has model.layers"):
        find(model, layers="model.blocks")


def test_unknown_shape_says_how_to_name_the_layers():
    model, _ = tiny_llama()

    class Odd(nn.Module):
        """Layers that hand on something else than the residual stream."""

        def __init__(self):
            super().__init__()
            self.config = model.config
            self.embed = nn.Embedding(260, 64)
            self.blocks = nn.ModuleList([nn.Linear(64, 32), nn.Linear(32, 64)])

        def forward(self, input_ids, use_cache=False):
            x = self.embed(input_ids)
            for b in self.blocks:
                x = b(x)
            return x

    with pytest.raises(LayersError, match="name them yourself: --layers path"):
        find(Odd())


def test_state_without_slots_is_refused_by_name():
    from transformers import MambaConfig, MambaForCausalLM

    with torch.random.fork_rng(devices=[]):
        mamba = MambaForCausalLM(MambaConfig(vocab_size=260, hidden_size=32, num_hidden_layers=2, state_size=4)).eval()
    with pytest.raises((LayersError, Unsupported), match="MambaForCausalLM"):
        TorchEngine(mamba, tiny_tokenizer())


def test_layers_called_past_their_hooks_are_refused():
    model, tokenizer = tiny_llama(seed=5)

    class Bypass(nn.Module):
        """Runs its layer without calling it, so that no hook can see it."""

        def __init__(self, layer):
            super().__init__()
            self.inner = nn.ModuleList([layer])

        def forward(self, hidden_states, **kwargs):
            return self.inner[0].forward(hidden_states, **kwargs)

    model.model.layers = nn.ModuleList([Bypass(x) for x in model.model.layers])
    assert find(model).path == "model.layers"
    with pytest.raises(LayersError, match="do not hand"):
        TorchEngine(model, tokenizer, layers="model.layers.0.inner")


@pytest.mark.parametrize("name", list(FAMILIES)[:2])
def test_finding_leaves_no_hook(name):
    model = family_model(name)
    find(model)
    assert not any(m._forward_hooks for m in model.modules())
