"""A PostgreSQL server of these tests' own, where its programs are installed."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.gateway.browsing import FLAGS, program
from tests.verbs.tiny_map import Mapped, shared_map

PASSWORD = "mayfly-7310"
"""Of the server; no sentence may ever say it."""


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


def _user() -> dict[str, int]:
    """The server refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": found.pw_uid, "group": found.pw_gid}
    pytest.skip("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a server on 127.0.0.1, without a database's name."""
    psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed; run: pip install 'psycopg[binary]'")
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL server here; as root: apt-get install postgresql")
    who = _user()
    home = Path(tempfile.mkdtemp(prefix="homing-pg-", dir="/tmp"))
    if who:
        os.chown(home, who["user"], who["group"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    word = home / "word"
    word.write_text(PASSWORD)
    word.chmod(0o644)
    server = None
    try:
        subprocess.run(
            [programs / "initdb", "-D", home / "data", "-U", "homing", "--auth=scram-sha-256", f"--pwfile={word}",
             "--no-sync", "--encoding=UTF8", "--locale=C"],
            check=True, capture_output=True, cwd=home, **who,
        )  # fmt: skip
        with (home / "log").open("wb") as log:
            server = subprocess.Popen(
                [programs / "postgres", "-D", home / "data", "-k", home, "-h", "127.0.0.1", "-p", str(port), "-F",
                 "-c", "shared_buffers=16MB"],
                stdout=log, stderr=log, cwd=home, **who,
            )  # fmt: skip
        url = f"postgresql://homing:{PASSWORD}@127.0.0.1:{port}"
        for _ in range(300):
            try:
                psycopg.connect(f"{url}/postgres", connect_timeout=2).close()
                break
            except psycopg.OperationalError:
                assert server.poll() is None, (home / "log").read_text()
                time.sleep(0.1)
        yield url
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)  # at once, whoever is connected
            server.wait(60)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store/homing.db"
    return fresh_database(request.getfixturevalue("postgresql"))


def fresh_database(server: str) -> str:
    """A new database on the server."""
    import psycopg
    from psycopg import sql

    name = f"t{uuid4().hex}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as c:
        c.execute(sql.SQL("CREATE DATABASE {} STRATEGY file_copy").format(sql.Identifier(name)))
    return f"{server}/{name}"


@pytest.fixture(scope="session")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Mapped:
    return shared_map(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = program("chromium")
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(options=options, service=Service(program("chromedriver")))
    try:
        yield made
    finally:
        made.quit()
