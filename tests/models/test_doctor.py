"""The doctor finds what is there, says what is wrong, and does not call a broken thing well."""

import json

import pytest
import torch

from homing.models.doctor import Check, DoctorReport, examine, examine_loaded
from homing.models.timing import median_of, step_seconds
from homing.testing.tiny import TEMPLATE, tiny_llama, tiny_tokenizer

NAMES = [
    "layers", "template", "implicit_system", "hooks", "known_shift", "reply_equality", "speed", "untouched", "dtype",
]  # fmt: skip


@pytest.fixture(scope="module")
def report():
    model, tokenizer = tiny_llama()
    model.generation_config.repetition_penalty = 3.0  # greedy decoding has none, whatever the model ships
    return examine_loaded(model, tokenizer, name="tiny")


def test_a_sound_model_is_well(report):
    assert [c.name for c in report.checks] == NAMES
    assert {c.name: c.state for c in report.checks} == dict.fromkeys(NAMES, "ok")
    assert report.ok
    assert all("\n" not in c.sentence and c.sentence for c in report.checks)


def test_the_facts_are_the_models(report):
    assert report["layers"].facts == {"path": "model.layers", "how": "structure", "count": 4, "hidden": 64}
    replies = [p["text"] for p in report["template"].facts["pieces"] if p["span"] == "reply"]
    assert replies == ["I answer questions, mostly."]
    assert report["implicit_system"].facts["text"] is None
    assert report["speed"].facts["batch_8"]["value"] > report["speed"].facts["batch_1"]["value"] > 0
    assert report["dtype"].facts["faster"] in ("float32", "bfloat16")


def test_json_goes_out_and_figures_have_intervals(report):
    body = json.loads(json.dumps(report.to_json()))
    assert body["schema"] == "homing.doctor/1"
    assert body["ok"] is True
    figure = next(c for c in body["checks"] if c["name"] == "speed")["facts"]["batch_1"]
    assert figure["low"] <= figure["value"] <= figure["high"]
    assert {"level", "n"} <= set(figure)
    assert len(report.text().splitlines()) == 1 + len(NAMES)
    with pytest.raises(KeyError):
        report["horoscope"]


def test_layers_may_be_named_and_the_wrong_name_is_told():
    model, tokenizer = tiny_llama(layers=2)
    assert examine_loaded(model, tokenizer, name="tiny", layers="model.nowhere")["layers"].state == "failed"
    model, tokenizer = tiny_llama(layers=2)
    report = examine_loaded(model, tokenizer, name="tiny", layers="model.layers")
    assert report.ok
    assert report["layers"].facts["how"] == "named"


def test_an_implicit_system_prompt_is_told():
    model, _ = tiny_llama(layers=2)
    source = (
        "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are Tin.<|im_end|>\n{% endif %}" + TEMPLATE
    )
    found = examine_loaded(model, tiny_tokenizer(template=source), name="tin")["implicit_system"]
    assert "You are Tin." in found.sentence


@pytest.mark.parametrize(
    ("source", "words"),
    [(None, "no chat template"), (TEMPLATE.replace("['content']", "['content']|upper"), "does not show")],
)
def test_a_bad_template_fails_and_the_rest_is_still_tried(source, words):
    model, _ = tiny_llama(layers=2)
    report = examine_loaded(model, tiny_tokenizer(template=source), name="tiny")
    assert report["template"].state == "failed"
    assert words in report["template"].sentence
    assert not report.ok
    assert report["reply_equality"].state == "ok"


def test_a_model_without_layers_fails():
    model, tokenizer = tiny_llama(layers=2)

    class Swapped(torch.nn.Module):  # hands on something other than what it was given last
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, hidden_states, **more):
            return torch.zeros_like(self.inner(hidden_states, **more))[:, :, :32].repeat(1, 1, 3)[:, :, :64].roll(1, 2)

    class Renamed(torch.nn.ModuleList):
        def __iter__(self):
            return iter(list(super().__iter__())[:1])

    model.model.layers = Renamed([Swapped(m) for m in model.model.layers])
    report = examine_loaded(model, tokenizer, name="odd")
    assert report["layers"].state == "failed"
    assert report["speed"].state == "not_measurable"
    assert not report.ok


def test_a_slow_tokenizer_is_all_that_is_said():
    model, _ = tiny_llama(layers=2)

    class Slow:
        chat_template = "x"

    report = examine_loaded(model, Slow(), name="slow")
    assert [(c.name, c.state) for c in report.checks] == [("tokenizer", "failed")]


def test_examine_opens_by_name(tmp_path):
    model, tokenizer = tiny_llama(layers=2)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    report = examine(str(tmp_path))
    assert report.ok
    assert report.model == str(tmp_path)


def test_nothing_measurable_is_not_a_failure():
    assert DoctorReport("m", "f", (Check("a", "not_measurable", "no"),)).ok
    assert not DoctorReport("m", "f", (Check("a", "failed", "no"),)).ok


def test_timing_is_a_median_with_its_level():
    e = median_of([3.0, 1.0, 2.0], unit="s")
    assert (e.value, e.low, e.high, e.level, e.n) == (2.0, 1.0, 3.0, 0.75, 3)
    model, _ = tiny_llama(layers=2)
    before = [p.clone() for p in model.parameters()]
    assert step_seconds(model, rounds=2, steps=2).value > 0
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.model
def test_the_embedded_model_is_well(smol):
    report = examine(str(smol))
    assert {c.name: c.state for c in report.checks} == dict.fromkeys(NAMES, "ok")
    assert report["layers"].facts["count"] == 30
    assert "SmolLM" in report["implicit_system"].sentence
