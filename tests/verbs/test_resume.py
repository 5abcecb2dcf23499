"""Stopped anywhere, the same command makes the same identity; other work is never mixed in."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from tests.verbs.tiny_map import SHORT, STRENGTH, Mapped, tiny_plan

from homing.errors import InputError, Interrupted
from homing.identity import Identity, container, work
from homing.identity.work import Unit, WorkDir
from homing.models.sources import wrap
from homing.testing.tiny import Planted, planted_model
from homing.verbs.map import map_model, run_map
from homing.verbs.plan import MapPlan
from homing.verbs.progress import Silent


class Stopped(Exception):
    """The machine went away."""


@pytest.fixture(scope="module")
def planted() -> Planted:
    return planted_model(strength=STRENGTH)


async def make(planted: Planted, plan: MapPlan) -> Identity:
    model = wrap(planted.model, planted.tokenizer, name="planted")
    try:
        return await map_model(model, plan, progress=Silent())
    finally:
        await model.close()


def units(out: Path) -> list[Path]:
    return sorted(p for p in (out / "work").rglob("*.json") if p.name != "plan.json")


async def test_stopped_at_random_moments_the_bytes_are_those_of_an_unbroken_run(
    planted: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = await make(planted, tiny_plan(tmp_path / "whole", preset=SHORT))
    n = len(units(tmp_path / "whole"))
    rng = random.Random(5)
    plan = tiny_plan(tmp_path / "broken", preset=SHORT)
    keep, write = WorkDir.keep, work.write_atomically
    left = 0

    def stopping_keep(self: WorkDir, name: str, unit: Unit) -> Unit:
        nonlocal left
        left -= 1
        if left == 0:
            raise Stopped
        return keep(self, name, unit)

    def half_write(path: Path, blob: bytes) -> None:
        """A kill between the two files of a unit, or inside one that a careless file system left short."""
        nonlocal left
        left -= 1
        if left == 0:
            if path.suffix == ".safetensors":
                path.write_bytes(blob[: len(blob) // 2])
            raise Stopped
        write(path, blob)

    stops = 0
    for k in range(5):
        left = rng.randint(2, max(2, n // 6))
        with monkeypatch.context() as m:
            if k % 2:
                m.setattr(work, "write_atomically", half_write)
            else:
                m.setattr(WorkDir, "keep", stopping_keep)
            with pytest.raises(Stopped):
                await make(planted, plan)
        stops += 1
    # units lost or damaged while nobody looked
    lost = rng.sample(units(tmp_path / "broken"), 2)
    lost[0].unlink()
    lost[1].write_text(lost[1].read_text()[:-20])
    assert not (tmp_path / "broken" / "identity.json").exists()
    again = await make(planted, plan)
    assert stops == 5
    assert again.digest == whole.digest
    assert Identity.load(tmp_path / "broken").digest == whole.digest
    for a, b in zip(units(tmp_path / "whole"), units(tmp_path / "broken"), strict=True):
        assert a.relative_to(tmp_path / "whole") == b.relative_to(tmp_path / "broken")
        assert a.with_suffix(".safetensors").exists() == b.with_suffix(".safetensors").exists()

    # another seed, or another plan, in the same directory is refused, and the finished work is not touched
    before = [(p, p.stat().st_mtime_ns) for p in units(tmp_path / "whole")]
    with pytest.raises(InputError, match=r"holds work of another plan \(different: plan\)"):
        await make(planted, tiny_plan(tmp_path / "whole", preset=SHORT, seed=1))
    assert before == [(p, p.stat().st_mtime_ns) for p in units(tmp_path / "whole")]
    other = planted_model(strength=STRENGTH, seed=3)
    with pytest.raises(InputError, match="different: model"):
        await make(other, tiny_plan(tmp_path / "whole", preset=SHORT))


def test_two_maps_into_one_directory_are_refused(mapped: Mapped, tmp_path: Path) -> None:
    with (
        WorkDir(tmp_path / "work", {"a": 1}),
        pytest.raises(InputError, match="another homing process is working") as e,
    ):
        run_map(tiny_plan(tmp_path, model=str(mapped.model), preset=SHORT))
    assert "\n" not in str(e.value)


def test_disk_full_is_one_sentence_and_finished_units_stay(
    mapped: Mapped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = 6

    def full(path: Path, blob: bytes) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        container.write_atomically(path, blob)

    monkeypatch.setattr(work, "write_atomically", full)
    plan = tiny_plan(tmp_path, model=str(mapped.model), preset=SHORT)
    with pytest.raises(InputError) as e:
        run_map(plan)
    assert "No space left on device" in str(e.value)
    assert "run the same command again" in str(e.value)
    assert "\n" not in str(e.value)
    kept = units(tmp_path)
    assert len(kept) == 2
    times = [p.stat().st_mtime_ns for p in kept]
    left = 2
    with pytest.raises(InputError):
        run_map(plan)
    assert [p.stat().st_mtime_ns for p in kept] == times  # found again, not made again


def test_disk_full_while_saving_the_identity_is_one_sentence(
    mapped: Mapped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, blob: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(container, "write_atomically", full)
    with pytest.raises(InputError, match=r"cannot write the identity to .*No space left"):
        mapped.identity.save(tmp_path / "home")


@pytest.mark.parametrize("how", ["below a file", "read-only"])
def test_output_that_cannot_be_written_is_one_sentence(mapped: Mapped, tmp_path: Path, how: str) -> None:
    if how == "read-only":
        (tmp_path / "ro").mkdir(mode=0o500)
        if os.access(tmp_path / "ro", os.W_OK):
            pytest.skip("this user may write anywhere (root)")
        out = tmp_path / "ro" / "home"
    else:
        (tmp_path / "file").write_text("x")
        out = tmp_path / "file" / "home"
    with pytest.raises(InputError, match=r"cannot write to .*choose another --out directory"):
        run_map(tiny_plan(out, model=str(mapped.model), preset=SHORT))


def test_a_file_system_that_is_read_only_is_one_sentence(
    mapped: Mapped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *a: object, **k: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    plan = tiny_plan(tmp_path / "home", model=str(mapped.model), preset=SHORT)
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(InputError, match="Read-only file system; choose another --out directory"):
        run_map(plan)


def test_ctrl_c_saves_and_says_how_to_go_on(
    mapped: Mapped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    keep = WorkDir.keep

    def interrupted(self: WorkDir, name: str, unit: Unit) -> Unit:
        made = keep(self, name, unit)
        if name.endswith("001-000"):
            signal.raise_signal(signal.SIGINT)
        return made

    monkeypatch.setattr(WorkDir, "keep", interrupted)
    # a shell starts background jobs with SIGINT ignored, and the test must hold there too
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    with pytest.raises(Interrupted, match="run the same command to go on") as e:
        run_map(tiny_plan(tmp_path, model=str(mapped.model), preset=SHORT))
    assert e.value.exit_code == 130
    assert any(p.stem == "001-000" for p in units(tmp_path))


SCRIPT = """
    import sys
    from pathlib import Path
    from tests.verbs.tiny_map import SHORT, tiny_plan
    from homing.verbs.map import run_map
    print(run_map(tiny_plan(Path(sys.argv[2]), model=sys.argv[1], preset=SHORT)).digest)
"""


@pytest.mark.slow
def test_killed_by_the_system_at_five_random_moments(mapped: Mapped, tmp_path: Path) -> None:
    """SIGKILL to a real process, whenever; what goes on has the hash of the unbroken run."""
    root = Path(__file__).parents[2]
    whole = run_map(tiny_plan(tmp_path / "whole", model=str(mapped.model), preset=SHORT))
    total = len(units(tmp_path / "whole"))
    arguments = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(mapped.model), str(tmp_path / "broken")]
    rng = random.Random(11)
    kills = 0
    while kills < 5:
        wanted = min(total - 1, 1 + kills * total // 6)
        process = subprocess.Popen(arguments, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        until = time.monotonic() + 120
        while len(units(tmp_path / "broken")) < wanted and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(rng.random() * 0.3)
        assert process.poll() is None, process.communicate()[1].decode()
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        kills += 1
    done = subprocess.run(arguments, cwd=root, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.strip() == whole.digest
