"""Spans of replies: exact, or refused with a reason."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homing.conversation import Conversation, Message
from homing.engine.render import TemplateFailed, TemplateRaised
from homing.engine.template import ChatTemplate, offsets
from homing.errors import TemplateError
from homing.testing.templates import REPLIES, TALK, find_templates, outcome, template_table
from homing.testing.tiny import TEMPLATE, tiny_tokenizer

INST = (
    "{{ bos_token }}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]{% else %} {{ m['content'] }}{{ eos_token }}"
    "{% endif %}{% endfor %}"
)
THINKING = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' and m['reasoning_content'] %}<think>\n{{ m['reasoning_content'] }}\n</think>\n\n"
    "{% endif %}{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
SHAPES = {"chatml": TEMPLATE, "inst": INST, "thinking": THINKING}
FOUND = find_templates()


def made(source, **more):
    return ChatTemplate(source, SPECIAL, more)


def chatml(reply):
    """ChatML with another expression in the place of a reply."""
    return (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}" + reply + "{% else %}"
        "{{ m['content'] }}{% endif %}<|im_end|>\n{% endfor %}"
    )


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer()


def spans(encoded, tokenizer):
    """Text of each run of one span."""
    _, places = offsets(tokenizer, encoded.text)
    out = []
    for kind, (a, b) in zip(encoded.spans, places, strict=True):
        if out and out[-1][0] == kind:
            out[-1][1] += encoded.text[a:b]
        else:
            out.append([kind, encoded.text[a:b]])
    return [(k, t) for k, t in out]


def test_known_spans(tokenizer):
    encoded = made(TEMPLATE).encode(Conversation.of("Hi", "Hello.", "Bye", system="Be kind."), tokenizer)
    assert spans(encoded, tokenizer) == [
        ("prompt", "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"),
        ("reply", "Hello."),
        ("prompt", "<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n"),
    ]
    assert [r.message for r in encoded.replies] == [2]


def test_no_reply_no_span(tokenizer):
    encoded = made(TEMPLATE).encode(Conversation.of("Hi"), tokenizer)
    assert set(encoded.spans) == {"prompt"}
    assert encoded.replies == ()
    assert encoded.think is None


def test_thinking_is_a_span_of_its_own(tokenizer):
    template = made(THINKING)
    assert template.probe.think == ("<think>", "</think>")
    talk = Conversation(
        (
            Message("user", "Hi"),
            Message("assistant", "Hello.", '{"reasoning_content":"A greeting."}'),
            Message("user", "?"),
        )
    )
    kinds = {k: t for k, t in spans(template.encode(talk, tokenizer), tokenizer) if k != "prompt"}
    assert kinds == {"thinking": "A greeting.", "reply": "Hello."}


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking"])
@pytest.mark.parametrize("reads", ["reasoning_content", "thinking"])
def test_thinking_under_any_name_goes_where_the_template_looks(tokenizer, field, reads):
    template = made(THINKING.replace("reasoning_content", reads))
    assert template.probe.field == reads
    talk = Conversation((Message("user", "Hi"), Message("assistant", "Hello.", f'{{"{field}":"A greeting."}}')))
    assert ("thinking", "A greeting.") in spans(template.encode(talk, tokenizer), tokenizer)


def test_thinking_inside_the_content_is_split_off(tokenizer):
    talk = Conversation.of("Hi", "<think>\nA greeting.\n</think>\n\nHello.")
    found = [(k, t) for k, t in spans(made(THINKING).encode(talk, tokenizer), tokenizer) if k != "prompt"]
    assert found == [("thinking", "A greeting."), ("reply", "Hello.")]


def test_generation_that_starts_inside_thinking(tokenizer):
    opened = THINKING.replace("<|im_start|>assistant\n{% endif %}", "<|im_start|>assistant\n<think>\n{% endif %}")
    encoded = made(opened).encode(Conversation.of("Hi"), tokenizer)
    assert encoded.think is not None
    assert encoded.think.starts_inside
    assert tokenizer.decode(encoded.think.close) == "</think>"


def test_thinking_that_never_closes_is_refused():
    source = TEMPLATE.replace("<|im_start|>assistant\n{% endif %}", "<|im_start|>assistant\n<think>\n{% endif %}")
    with pytest.raises(TemplateError, match="never shows how it closes"):
        made(source).probe  # noqa: B018


def test_markers_of_channels_do_not_match_the_final_channel():
    source = (
        "{% for m in messages %}<|start|>{{ m['role'] }}{% if m['role'] == 'assistant' %}{% if m['thinking'] %}<|channel|>"
        "analysis<|message|>{{ m['thinking'] }}<|end|><|start|>assistant{% endif %}<|channel|>final{% endif %}"
        "<|message|>{{ m['content'] }}<|end|>{% endfor %}{% if add_generation_prompt %}<|start|>assistant{% endif %}"
    )
    think = made(source).probe.think
    assert think is not None
    assert think[0] == "<|channel|>analysis<|message|>"


def test_system_message_is_merged_where_it_is_refused(tokenizer):
    encoded = made(INST).encode(Conversation.of("Hi", "Hello.", system="Be kind."), tokenizer)
    assert encoded.system_merged
    assert encoded.text == "<s>[INST] Be kind.\n\nHi [/INST] Hello.</s>"
    assert [r.message for r in encoded.replies] == [2]


def test_implicit_system_prompt_is_told(tokenizer):
    source = (
        "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are Tin.<|im_end|>\n{% endif %}" + TEMPLATE
    )
    template = made(source)
    assert "You are Tin." in (template.encode(Conversation.of("Hi"), tokenizer).implicit_system or "")
    assert template.encode(Conversation.of("Hi", system="Be kind."), tokenizer).implicit_system is None


def test_content_as_parts(tokenizer):
    source = TEMPLATE.replace("{{ message['content'] }}", "{{ message['content'][0]['text'] }}")
    template = made(source)
    assert template.probe.form == "parts"
    assert ("reply", "Hello.") in spans(template.encode(Conversation.of("Hi", "Hello."), tokenizer), tokenizer)


def test_outer_blanks_that_a_template_strips_are_not_reply(tokenizer):
    encoded = made(chatml("{{ m['content'] | trim }}")).encode(Conversation.of("Hi", "  Hello. \n"), tokenizer)
    assert encoded.replies[0].text == "Hello."
    assert ("reply", "Hello.") in spans(encoded, tokenizer)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("{{ m['content'] | upper }}", "does not show"),
        ("{{ m['content'] | lower }}", "changes the text"),
        ("{{ m['content'][:5] }}", "changes the text|does not show"),
        ("{{ m['content'] | replace('e', 'a') }}", "changes the text"),
        ("{{ m['content'] | length }}", "does not show"),
        ("{{ m['content'] }}{{ m['content'] }}", "more than once"),
        ("{{ m['content'] }}{% if 'Hello' in m['content'] %}!{% endif %}", "changes the text"),
        ("", "does not show"),
        ("{% if loop.last %}{{ m['content'] }}{% endif %}", "does not show"),
    ],
)
def test_a_template_that_does_not_keep_replies_is_refused(tokenizer, reply, reason):
    with pytest.raises(TemplateError, match=reason):
        made(chatml(reply)).encode(Conversation.of("Hi", "Hello there.", "Bye"), tokenizer)


def test_wrong_order_is_refused_in_the_templates_own_words(tokenizer):
    talk = Conversation((Message("user", "Hi"), Message("user", "Hi?")))
    with pytest.raises(TemplateRaised, match="must alternate"):
        made(INST).encode(talk, tokenizer)


def test_a_broken_template_is_not_a_refusal(tokenizer):
    source = TEMPLATE.replace(
        "{{ message['content'] }}", "{{ message['content'] }}{{ 1 + 'x' if message['role'] == 'system' }}"
    )
    template = made(source)
    assert template.probe.system == "failed"
    assert not template.supports_system
    with pytest.raises(TemplateFailed, match="TypeError"):
        template.encode(Conversation.of("Hi", system="Be kind."), tokenizer)


def test_a_system_message_dropped_in_silence_is_refused(tokenizer):
    source = TEMPLATE.replace(
        "{% for message in messages %}", "{% for message in messages if message['role'] != 'system' %}"
    )
    with pytest.raises(TemplateError, match="drops the system message"):
        made(source).encode(Conversation.of("Hi", system="Be kind."), tokenizer)


@pytest.mark.parametrize("source", [None, ""])
def test_no_template_is_one_sentence(source):
    with pytest.raises(TemplateError, match="no chat template"):
        ChatTemplate.of(source)


def test_the_date_stands_still_unless_asked(monkeypatch):
    source = "{{ strftime_now('%Y-%m-%d') }}" + TEMPLATE
    talk = Conversation.of("Hi")
    assert made(source).render(talk).startswith("2025-01-01")
    assert ChatTemplate(source, {}, {}, date="2026-03-04").render(talk).startswith("2026-03-04")
    monkeypatch.setenv("HOMING_TEMPLATE_DATE", "2024-02-29")
    assert made(source).render(talk).startswith("2024-02-29")
    monkeypatch.setenv("HOMING_TEMPLATE_DATE", "29 February")
    with pytest.raises(TemplateError, match="is no date"):
        made(source).render(talk)


def test_a_slow_tokenizer_is_refused():
    def slow(text, *, add_special_tokens, return_offsets_mapping):
        raise NotImplementedError

    with pytest.raises(TemplateError, match="fast"):
        made(TEMPLATE).encode(Conversation.of("Hi"), slow)


TEXT = st.text(st.characters(exclude_categories=("Cs", "Co")), min_size=1, max_size=40)


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=30, deadline=None)
@given(texts=st.lists(TEXT, min_size=2, max_size=6))
def test_spans_are_the_messages(shape, texts):
    tokenizer = tiny_tokenizer_once()
    texts = [t.replace("<", "(") for t in texts]  # a marker inside a message would be a special token, or a thought
    encoded = made(SHAPES[shape]).encode(Conversation.of(*texts), tokenizer)
    _, places = offsets(tokenizer, encoded.text)
    got = [encoded.text[places[r.start][0] : places[r.stop - 1][1]] for r in encoded.replies]
    assert got == texts[1::2]
    assert sum(k == "reply" for k in encoded.spans) == sum(r.stop - r.start for r in encoded.replies)


_once = []


def tiny_tokenizer_once():
    if not _once:
        _once.append(tiny_tokenizer())
    return _once[0]


def test_there_are_enough_real_templates():
    if not FOUND:
        pytest.skip("trl and axolotl are not installed; run: make setup")
    assert len(FOUND) >= 40
    assert len(template_table().splitlines()) == len(FOUND) + 2


def test_most_real_templates_are_exact(tokenizer):
    """Each may be refused with a reason, but not all of them: every one of the 108 that were there in 2026 is exact."""
    if not FOUND:
        pytest.skip("trl and axolotl are not installed; run: make setup")
    found = {key: outcome(path.read_text(encoding="utf-8"), tokenizer) for key, path in FOUND.items()}
    refused = {key: o.reason for key, o in found.items() if o.verdict == "refused"}
    exact = len(found) - len(refused)
    assert exact >= max(40, 0.95 * len(found)), f"{exact} of {len(found)} exact; refused: {refused}"


@pytest.mark.parametrize(("package", "name"), FOUND)
def test_real_template_is_exact_or_refused_with_its_reason(tokenizer, package, name):
    found = outcome(FOUND[package, name].read_text(encoding="utf-8"), tokenizer)
    if found.verdict == "refused":
        assert found.reason
    else:
        assert found.replies == REPLIES
        assert TALK.turns == len(found.replies)


@settings(max_examples=3, deadline=None)
@given(first=TEXT, second=TEXT)
def test_real_templates_give_any_text_exactly_or_refuse(first, second):
    tokenizer = tiny_tokenizer_once()
    first, second = (t.replace("<", "(").replace("[", "(") for t in (first, second))
    talk = Conversation.of("What is it?", first, "And then?", second)
    for path in FOUND.values():
        try:
            encoded = made(path.read_text(encoding="utf-8")).encode(talk, tokenizer)
        except TemplateError:
            continue
        _, places = offsets(tokenizer, encoded.text)
        for r in encoded.replies:
            text = encoded.text[places[r.start][0] : places[r.stop - 1][1]]
            assert text == r.text
            assert text.strip() == talk[r.message].content.strip()
