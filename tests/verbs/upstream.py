"""A service named fake that Inspect reaches on this machine, with nothing waited for between attempts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from homing.models import inspected
from homing.testing.upstream import Upstream

MODEL = "openai-api/fake/x"
KEY = "the-key"
Serve = Callable[[Upstream], AbstractContextManager[Upstream]]


def make_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few attempts and no waits; nobody is there unless somebody serves."""
    import openai
    from inspect_ai.model._providers.openai_compatible import OpenAICompatibleAPI
    from tenacity import wait_none

    monkeypatch.setattr(openai._base_client.BaseClient, "_calculate_retry_timeout", lambda *a, **k: 0.0)
    monkeypatch.setattr(OpenAICompatibleAPI, "retry_wait", lambda self: wait_none())
    monkeypatch.setattr(inspected, "RETRIES", 1)
    monkeypatch.setenv("FAKE_API_KEY", KEY)
    monkeypatch.setenv("FAKE_BASE_URL", "http://127.0.0.1:9/v1")


def server(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Point the service named fake at an upstream."""

    @contextmanager
    def at(up: Upstream) -> Iterator[Upstream]:
        with up:
            monkeypatch.setenv("FAKE_BASE_URL", up.url)
            yield up

    return at


def paid_twice(up: Upstream) -> list[str]:
    """Questions that a completion was given for more than once."""
    paid = Counter(f"{a.conversation.digest} {a.body.get('seed')}" for a in up.asked if a.paid)
    return [k for k, n in paid.items() if n > 1]
