"""Every bad line becomes one sentence, and the rest is read."""

from __future__ import annotations

import json
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homing.errors import InputError
from homing.verbs import transcripts
from homing.verbs.transcripts import BadLine, Transcript, read_transcripts

TALK = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi there"}]


def line(messages=TALK, **more) -> str:
    return json.dumps({"messages": messages, **more})


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_good_lines_come_out_with_id_or_line_number(tmp_path: Path):
    p = write(tmp_path / "t.jsonl", line(id="a"), "", line(), line(id=7), line(id=None))
    got = list(read_transcripts(p))
    assert all(isinstance(t, Transcript) for t in got)
    assert [(t.id, t.line) for t in got] == [("a", 1), ("3", 3), ("7", 4), ("5", 5)]
    assert isinstance(got[0], Transcript)
    assert got[0].conversation.to_openai() == TALK


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ('{"messages": [', "broken JSON at character"),
        ("[1, 2]", "the line is a list"),
        ("3", "the line is a number"),
        ("null", "the line is null"),
        ("{}", "field 'messages' is missing"),
        ('{"messages": "x"}', "field 'messages' is a text"),
        ('{"messages": [3]}', "message 1 is int"),
        ('{"messages": []}', "no assistant turn"),
        (line(TALK[:1]), "no assistant turn"),
        (line([{"role": "robot", "content": "x"}, *TALK]), "message 1: unknown role 'robot'"),
        (line([{"content": "x"}, *TALK]), "message 1: unknown role None"),
        (line([{"role": "user", "content": "  "}, TALK[1]]), "message 1: content of the user is empty"),
        (line([TALK[0], {"role": "assistant", "content": ""}]), "message 2: content of the assistant is empty"),
        (line([TALK[0], {"role": "assistant", "content": None}]), "message 2: content of the assistant is empty"),
        (line([TALK[0], {"role": "assistant", "content": 5}]), "message 2: content of a assistant message is int"),
        (line([TALK[0], {"role": "assistant", "content": "x" * 10_000_001}]), "over 10,000,000 bytes of text"),
        (line([TALK[0], {"role": "assistant", "content": "\ud800"}]), "surrogate"),
        ("[" * 100_000, "JSON"),
        ('{"id": ' + "9" * 5000 + "}", "JSON that cannot be read"),
    ],
    ids=range(19),
)
def test_a_bad_line_is_one_sentence_and_the_rest_is_read(tmp_path: Path, bad: str, says: str):
    got = list(read_transcripts(write(tmp_path / "t.jsonl", line(id="a"), bad, line(id="b"))))
    assert [type(t) for t in got] == [Transcript, BadLine, Transcript]
    assert isinstance(got[1], BadLine)
    assert says in got[1].problem
    assert (got[1].id, got[1].line) == ("2", 2)
    assert str(got[1]).startswith(f"{tmp_path / 't.jsonl'}:2: ")


def test_a_bad_conversation_keeps_its_id_and_a_tool_call_may_be_silent(tmp_path: Path):
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    tool = {"role": "tool", "content": "", "tool_call_id": "1"}
    p = write(tmp_path / "t.jsonl", line([], id="gone"), line([TALK[0], call, tool, TALK[1]]))
    bad, good = read_transcripts(p)
    assert bad.id == "gone"
    assert isinstance(good, Transcript)
    assert good.conversation.turns == 2


def test_not_utf8_and_byte_order_mark(tmp_path: Path):
    (tmp_path / "t.jsonl").write_bytes(b"\xef\xbb\xbf" + line().encode() + b"\n\xff\xfe\n" + line().encode())
    got = list(read_transcripts(tmp_path / "t.jsonl"))
    assert [type(t) for t in got] == [Transcript, BadLine, Transcript]
    assert "not UTF-8" in getattr(got[1], "problem", "")


def test_missing_and_empty(tmp_path: Path):
    with pytest.raises(InputError, match="does not exist"):
        read_transcripts(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="holds no transcript"):
        read_transcripts(tmp_path)
    (bad,) = read_transcripts(write(tmp_path / "t.jsonl", ""))
    assert isinstance(bad, BadLine)
    assert "no conversation" in bad.problem


def test_a_directory_is_read_in_order_of_names(tmp_path: Path):
    write(tmp_path / "b.jsonl", line(id="2"))
    write(tmp_path / "a.jsonl", line(id="1"))
    (tmp_path / "c").mkdir()
    write(tmp_path / "c" / "c.json", json.dumps([{"id": "3", "messages": TALK}, 4]))
    write(tmp_path / "notes.txt", "not read")
    assert [t.id for t in read_transcripts(tmp_path)] == ["1", "2", "3", "2"]


def test_inspect_logs_as_json_and_as_eval(tmp_path: Path):
    message = {"id": "x", "source": "generate", **TALK[1]}
    samples = [{"id": i, "epoch": 1, "messages": [TALK[0], message]} for i in (1, 2)]
    samples.append({"id": 1, "epoch": 2, "messages": [TALK[0]]})
    write(tmp_path / "log.json", json.dumps({"version": 2, "eval": {}, "samples": samples}))
    with zipfile.ZipFile(tmp_path / "log.eval", "w") as z:
        z.writestr("header.json", "{}")
        for s in samples:
            z.writestr(f"samples/{s['id']}_epoch_{s['epoch']}.json", json.dumps(s))
    for name in ("log.json", "log.eval"):
        got = {t.id: t for t in read_transcripts(tmp_path / name)}
        assert set(got) == {"1", "2", "1#2"}
        assert isinstance(got["1#2"], BadLine)
        good = got["2"]
        assert isinstance(good, Transcript)
        assert good.conversation.to_openai() == TALK


def packed_as(path: Path, method: int, *names: str) -> None:
    """Say in both headers of some members that they are packed with another method."""
    data = bytearray(path.read_bytes())
    for signature, at, name_at in ((b"PK\x03\x04", 8, 30), (b"PK\x01\x02", 10, 46)):
        start = 0
        while (start := data.find(signature, start)) >= 0:
            if any(data[start + name_at :].startswith(n.encode()) for n in names):
                data[start + at : start + at + 2] = method.to_bytes(2, "little")
            start += 4
    path.write_bytes(data)


def _without_what_inspect_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once imported, Inspect teaches the zip module of its process zstd; this Python without it."""
    taught = zipfile._get_decompressor

    def plain(method: int):
        if method == 93:
            raise NotImplementedError("compression type 93 (zstd)")
        return taught(method)

    monkeypatch.setattr(zipfile, "_get_decompressor", plain)


def test_a_damaged_sample_is_told_where_inspect_unpacks_it(tmp_path: Path):
    pytest.importorskip("inspect_ai.log")
    log = tmp_path / "x.eval"
    with zipfile.ZipFile(log, "w", zipfile.ZIP_DEFLATED) as z:
        for i in (1, 2):
            z.writestr(f"samples/{i}_epoch_1.json", json.dumps({"id": str(i), "messages": TALK}))
    packed_as(log, 93, "samples/1_epoch_1.json")
    bad, good = read_transcripts(log)
    assert isinstance(bad, BadLine)
    assert "copy the log again" in bad.problem
    assert isinstance(good, Transcript)


@pytest.mark.parametrize(("method", "called"), [(93, "zstd"), (98, "ppmd"), (77, "zip method 77")])
def test_a_packing_that_python_lacks_says_how_to_convert(
    tmp_path: Path, method: int, called: str, monkeypatch: pytest.MonkeyPatch
):
    _without_what_inspect_adds(monkeypatch)
    log = tmp_path / "my log.eval"
    names = [f"samples/{i}_epoch_1.json" for i in (1, 2, 3)]
    with zipfile.ZipFile(log, "w", zipfile.ZIP_DEFLATED) as z:
        for name in names:
            z.writestr(name, json.dumps({"id": name, "messages": TALK}))
    packed_as(log, method, *names[:2])
    bad, good = read_transcripts(log)  # said once for the two
    assert isinstance(bad, BadLine)
    assert f"packed with {called}, which this Python cannot unpack" in bad.problem
    assert f"inspect log convert --to json --output-dir converted '{log}'" in bad.problem
    assert "copy the log again" not in bad.problem
    assert isinstance(good, Transcript)
    assert good.id == names[2]


@pytest.mark.parametrize("packing", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_sample_that_is_damaged_does_not_stop_the_rest(tmp_path: Path, packing: int):
    log, body = tmp_path / "x.eval", json.dumps({"id": "a", "messages": TALK})
    with zipfile.ZipFile(log, "w", packing) as z:
        for i in (1, 2):
            z.writestr(f"samples/{i}_epoch_1.json", body)
        at = z.infolist()[0].header_offset + 30 + len("samples/1_epoch_1.json")
        size = z.infolist()[0].compress_size
    data = bytearray(log.read_bytes())
    data[at + 4 : at + size] = b"\xff" * (size - 4)
    log.write_bytes(data)
    bad, good = read_transcripts(log)
    assert isinstance(bad, BadLine)
    assert "copy the log again" in bad.problem
    assert isinstance(good, Transcript)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04rubbish", b"no zip at all"])
def test_a_broken_eval_is_a_bad_line(tmp_path: Path, data: bytes):
    (tmp_path / "x.eval").write_bytes(data)
    (bad,) = read_transcripts(tmp_path / "x.eval")
    assert isinstance(bad, BadLine)
    assert "not a readable Inspect log" in bad.problem


def test_json_lines_named_json(tmp_path: Path):
    p = write(tmp_path / "t.json", line(id="a"), line(id="b"))
    assert [t.id for t in read_transcripts(p)] == ["a", "b"]


def test_a_long_file_and_a_long_line_are_not_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(transcripts, "MAX_LINE_BYTES", 100_000)
    p = tmp_path / "t.jsonl"
    with p.open("w") as f:
        for _ in range(2000):
            f.write(line([*TALK, {"role": "user", "content": "x" * 10_000}]) + "\n")
        f.write("y" * 20_000_000 + "\n" + line(id="last") + "\n")
    tracemalloc.start()
    n, last = 0, None
    for last in read_transcripts(p):
        n += isinstance(last, Transcript)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == 2001
    assert last is not None
    assert last.id == "last"
    assert peak < 5_000_000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda c: (
        st.lists(c, max_size=4)
        | st.dictionaries(
            st.sampled_from(["id", "messages", "role", "content", "text", "tool_calls", "samples", "eval"]), c
        )
    ),
    max_leaves=12,
)
MESSAGE = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "tool", "x"]) | JSON, "content": JSON})


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=200)
    | JSON.map(lambda v: json.dumps(v).encode())
    | st.lists(MESSAGE, max_size=4).map(lambda m: json.dumps({"messages": m}).encode()),
    suffix=st.sampled_from([".jsonl", ".json", ".eval"]),
)
def test_fuzz_never_a_traceback(tmp_path: Path, body: bytes, suffix: str):
    p = tmp_path / f"f{suffix}"
    p.write_bytes(body)
    for item in read_transcripts(p):
        if isinstance(item, Transcript):
            assert item.conversation.turns >= 1
            assert item.conversation.digest
        else:
            assert item.problem
            assert "\n" not in item.problem
