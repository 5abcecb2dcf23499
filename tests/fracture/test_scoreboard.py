"""The panel finds what is planted for each measure, takes plug-ins, and refuses what it cannot read; the scoreboard reads all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from homing import plugins
from homing.errors import InputError
from homing.fracture.network import Layer, Network
from homing.fracture.panel import registry
from homing.fracture.panel.base import Measure, Scene, features, mean_over
from homing.fracture.panel.registry import available, get
from homing.fracture.scoreboard import OURS, read, spearman, titles
from homing.fracture.truth import cloned, entangled, fractured, rescaled
from homing.stats.estimate import Estimate

from .nets import FIRST, SECOND, inputs, mirror, net

SIDE = 12
ROOT = Path(__file__).parents[2]


def scene(network: Network, alpha: float = 0.5, **more) -> Scene:
    at = (np.arange(SIDE) + 0.5) / SIDE * 2 - 1
    y, x = (v.ravel() for v in np.meshgrid(at, at, indexing="ij"))
    xy = np.stack([x, y], axis=1)
    rest = {"gate": x > 0, "grid": (SIDE, SIDE), "second": SECOND, "reference": network} | more
    return Scene(network, inputs(xy, alpha), mirror(80, alpha), FIRST, **rest)


def value(name: str, s: Scene) -> float:
    return get(name).of(s).value


def test_the_panel_has_at_least_eight_measures_and_each_says_what_it_cannot_do():
    assert len(available()) >= 8
    assert all(get(n).cannot and get(n).title for n in available())
    assert not set(available()) & set(OURS) and set(titles()) == set(available()) | set(OURS)


@pytest.mark.parametrize("kind", ["relu", "mixed"])
def test_everything_is_read_with_an_interval(kind):
    found = read(scene(net(kind)))
    assert set(found) == set(titles())
    for name, e in found.items():
        assert isinstance(e, Estimate), (name, e)
        assert np.isfinite(e.value) and e.low <= e.high


def test_what_a_measure_lacks_is_its_reason():
    found = read(scene(net("relu"), grid=None, second=None, reference=None))
    words = {k for k, v in found.items() if isinstance(v, str)}
    assert words == {"roughness", "cka", "touching", "entanglement"}
    assert "give the scene" in str(found["cka"])
    assert read(scene(net("relu")), only=["clones"]).keys() == {"clones"}


def test_effective_rank_of_one_direction_and_of_all():
    one = Network((Layer(np.ones((5, 4)), ("identity",) * 4), Layer(np.ones((4, 2)), ("identity",) * 2)))
    assert value("effective_rank", scene(one)) == pytest.approx(0.25)
    assert value("effective_rank", scene(net("mixed"))) > 0.2


def test_clones_are_counted_and_cka_is_one_with_itself():
    base = net("mixed")
    assert value("clones", scene(base)) < 0.1 < value("clones", scene(cloned(base, share=0.5)))
    assert value("cka", scene(base)) == pytest.approx(1)
    assert value("cka", scene(base, reference=net("mixed", seed=9))) < 0.95
    with pytest.raises(InputError, match="layer by layer"):
        value("cka", scene(base, reference=net("mixed", widths=(5, 8, 2))))


def test_fracture_that_no_output_shows_moves_cka_though_not_in_sign():
    base = net("mixed")
    assert value("cka", scene(fractured(base, 1.0), reference=base)) < 0.9
    assert value("cka", scene(entangled(base, 1.0), reference=base)) < 1


def test_a_rough_network_is_rougher_and_rescaling_moves_roughness():
    base = net("relu")
    steep = Network((replace(base.layers[0], weights=base.layers[0].weights * 5), *base.layers[1:]))
    assert value("roughness", scene(steep)) > 2 * value("roughness", scene(base))
    assert value("roughness", scene(rescaled(base))) != pytest.approx(value("roughness", scene(base)), rel=0.05)


def test_two_networks_side_by_side_are_modular_and_shuffled_weights_are_not():
    a, b = net("relu", widths=(5, 16, 16, 1)), net("relu", seed=1, widths=(5, 16, 16, 1))
    layers = [Layer(np.hstack([a.layers[0].weights, b.layers[0].weights]), ("relu",) * 32)]
    for p, q in zip(a.layers[1:], b.layers[1:], strict=True):
        w = np.zeros((32, 2 * p.width))
        w[:16, : p.width], w[16:, p.width :] = p.weights, q.weights
        layers.append(Layer(w, p.kinds + q.kinds))
    apart = Network(tuple(layers))
    assert value("modularity", scene(apart)) > 0.3 > value("modularity", scene(net("relu")))
    assert value("touching", scene(apart)) == 0
    assert value("touching", scene(entangled(apart, 0.01))) >= 0.1


def test_superposition_of_directions_that_are_apart_and_of_one_that_is_shared():
    def of(w) -> float:
        return value(
            "superposition",
            scene(Network((Layer(np.ones((5, 4)), ("tanh",) * 4), Layer(w, ("identity",) * w.shape[1])))),
        )

    assert of(np.eye(4)) == pytest.approx(1) and of(np.ones((4, 2))) == pytest.approx(0.25)


def test_sweeps_of_a_symmetric_network_are_symmetric():
    assert value("sweep", scene(net("mixed"), alpha=0.0)) == pytest.approx(0, abs=1e-12)
    assert value("sweep", scene(fractured(net("mixed"), 1.0, layers=range(4)))) == pytest.approx(0.5, abs=1e-9)
    still = Network((Layer(np.zeros((5, 2)), ("tanh",) * 2), Layer(np.zeros((2, 2)), ("identity",) * 2)))
    with pytest.raises(InputError, match="nothing to sweep"):
        value("sweep", scene(still))


def test_weight_noise_grows_with_the_square_of_its_size():
    from homing.fracture.panel.behaviour import weight_noise

    small, large = (weight_noise(scene(net("mixed")), size=s).value for s in (0.001, 0.002))
    assert large / small == pytest.approx(4, rel=0.05)


def test_private_copies_are_units_of_their_own():
    base = fractured(net("mixed"), 0.5)
    s = scene(base)
    h = features(base, s.x, s.gate)
    assert h[0].shape[1] == 30 and (h[0][s.gate][:, :20][:, base.layers[0].split] == 0).all()


def test_a_plug_in_is_one_entry_point_and_one_that_breaks_is_named(monkeypatch):
    mine = Measure("mine", lambda s: mean_over([1.0, 2.0], "mine", s), "anything")
    points = [
        SimpleNamespace(name="mine", value="pkg:mine", load=lambda: mine),
        SimpleNamespace(name="bad", value="pkg:bad", load=lambda: 1 / 0),
    ]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)
    registry._registry.cache_clear()
    try:
        assert "mine" in available() and value("mine", scene(net("relu"))) == 1.5
        with pytest.raises(InputError, match="'bad' from pkg:bad does not load: ZeroDivisionError"):
            get("bad")
    finally:
        monkeypatch.undo()
        registry._registry.cache_clear()
    with pytest.raises(InputError, match="unknown measure 'nothing'; use one of"):
        get("nothing")


def test_rank_correlation_of_order_of_none_and_of_nothing():
    x = np.arange(30.0)
    assert spearman(x, np.exp(x), seed=0).value == pytest.approx(1)
    noise = spearman(x, np.random.default_rng(0).standard_normal(30), seed=0)
    assert noise.low < 0 < noise.high
    assert np.isnan(spearman(x, np.ones(30), seed=0).value)
    with pytest.raises(InputError, match="5 or more"):
        spearman(x[:3], x[:3], seed=0)
    with pytest.raises(InputError, match="not finite"):
        spearman(x, np.where(x == 3, np.nan, x), seed=0)


def test_the_page_says_what_the_figures_say(monkeypatch):
    """As ``python benchmarks/fracture.py --page`` writes it."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import fracture_page

    found = json.loads((ROOT / "benchmarks/results/fracture.json").read_text("utf-8"))
    assert fracture_page.page(found) == (ROOT / "docs/fracture-scoreboard.md").read_text("utf-8")


def test_a_grid_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match="grid of 3 by 3"):
        scene(net("relu"), grid=(3, 3))
