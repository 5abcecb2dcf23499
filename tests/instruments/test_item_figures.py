from __future__ import annotations

import numpy as np

from homing.instruments.item_figures import of_items, within


def test_items_that_are_all_alike_show_nothing_while_they_are_few():
    alike = {str(k): 0.0 for k in range(6)}
    assert not within(alike, 0.1)
    assert within({str(k): 0.0 for k in range(60)}, 0.1)
    found, p = of_items(alike, "alike", least=-1.0, most=1.0)
    assert found.low < 0 < found.high and p == 1.0


def test_small_differences_of_many_items_are_shown_to_be_small():
    rng = np.random.default_rng(0)
    assert within({str(k): float(x) for k, x in enumerate(rng.normal(0, 0.1, 80))}, 0.1)
    assert not within({str(k): float(x) for k, x in enumerate(rng.normal(0.1, 0.1, 80))}, 0.1)
