"""Short answers from an OpenAI-compatible chat endpoint: what a judge needs, and no more."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.message import Message as Headers
from typing import IO, Any
from urllib.parse import urlsplit

from homing.conversation import Message
from homing.errors import InputError, ModelError

__all__ = ["Completions"]

MAX_BYTES = 2**20
LONGEST_WAIT = 30.0
AGAIN = frozenset({408, 409, 429, 500, 502, 503, 504})


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A key must not travel to an address that the user did not name."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Headers, newurl: str
    ) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Completions:
    """One model behind one endpoint.

    Args:
        url: base address with scheme, such as ``http://127.0.0.1:8000/v1``; ``/chat/completions`` is added.
        model: its name there. ``key``: bearer token; empty: none is sent.
        timeout: of one attempt, seconds. ``attempts``: at most so many, with growing waits, where the service says to
            come back or does not answer.
        wait: sleeps; tests replace it.

    Raises:
        InputError: the address is not http or https, or carries a user name or password.
    """

    url: str
    model: str
    key: str = field(default="", repr=False)
    timeout: float = 60.0
    attempts: int = 5
    wait: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"endpoint {self.url!r} is no address; give one like http://127.0.0.1:8000/v1")
        if parts.username or parts.password:
            raise InputError("an endpoint with a user name or password in its address is not used; give the key apart")
        if not self.model:
            raise InputError(f"no model is named for endpoint {self.url}; say which model answers there")

    def ask(self, messages: Sequence[Message], *, max_tokens: int = 8) -> str:
        """The text of one greedy answer; blocks.

        Raises:
            ModelError: the service refuses, cannot be reached after all attempts, or answers with something else.
        """
        body = {
            "model": self.model,
            "messages": [{"role": m.role, "content": m.content} for m in messages],
            "temperature": 0,
            "max_tokens": max_tokens,
        }
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        request = urllib.request.Request(  # noqa: S310 - http and https alone get here
            self.url.rstrip("/") + "/chat/completions", json.dumps(body).encode(), headers, method="POST"
        )
        opener = urllib.request.build_opener(_NoRedirect)
        why = ""
        for attempt in range(self.attempts):
            pause = min(LONGEST_WAIT, 0.5 * 2**attempt)
            try:
                with opener.open(request, timeout=self.timeout) as answer:
                    return self._text(answer.read(MAX_BYTES + 1))
            except urllib.error.HTTPError as e:
                e.close()
                why = f"status {e.code}"
                if e.code not in AGAIN:
                    raise ModelError(
                        f"endpoint {self.url} refuses ({why}); check the address, the model name and the key"
                    ) from None
                asked = e.headers.get("Retry-After", "")
                pause = min(LONGEST_WAIT, float(asked)) if asked.isdigit() else pause
            except (OSError, http.client.HTTPException) as e:
                why = str(getattr(e, "reason", "") or e or type(e).__name__)
            if attempt + 1 < self.attempts:
                self.wait(pause)
        raise ModelError(
            f"endpoint {self.url} did not answer in {self.attempts} attempts ({why}); see that it runs, and run the same"
            " command again: what is judged is kept"
        )

    def _text(self, raw: bytes) -> str:
        try:
            if len(raw) > MAX_BYTES:
                raise ValueError("over 1 MiB")
            found: Any = json.loads(raw)["choices"][0]["message"]["content"]
            if not isinstance(found, str):
                raise ValueError("no text")
        except (ValueError, KeyError, IndexError, TypeError, RecursionError) as e:
            raise ModelError(
                f"endpoint {self.url} answered with something that is no chat completion ({e}); give an"
                " OpenAI-compatible address, mostly one that ends in /v1"
            ) from None
        return found
