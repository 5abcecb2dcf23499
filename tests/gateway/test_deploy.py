"""What is shipped beside the package says nothing that is not so."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from homing.gateway.metrics import Metrics

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_every_metric_of_the_dashboard_is_one_of_ours() -> None:
    text = Metrics().text().decode()
    # a labelled metric without a value yet has its type all the same
    known = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    used = set(re.findall(r"homing_[a-z0-9_]+", (DEPLOY / "grafana.json").read_text()))
    json.loads((DEPLOY / "grafana.json").read_text())
    assert {re.sub(r"_bucket$", "", u) for u in used} <= known


def test_what_was_never_run_says_so() -> None:
    for name in ("Dockerfile", "compose.yaml"):
        assert "Not tested" in (DEPLOY / name).read_text().splitlines()[0]
    assert set(yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]) == {"store", "gateway"}
