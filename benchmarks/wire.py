"""A client of the wire in a process of its own, so that its work is not counted as the service's, and a server that does nothing.

It speaks HTTP/1.1 over plain sockets: a client library takes as long for a request as the service does.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing as mp
import socket
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

__all__ = ["Call", "Client", "asked", "null_server"]

Call = tuple[int, bytes]
"""Where to, and the bytes of a whole request."""


def asked(port: int, path: str, body: Any = None) -> Call:
    """A request: GET, or POST with a body."""
    raw = b"" if body is None else json.dumps(body).encode()
    head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n"
    if body is not None:
        head += f"content-type: application/json\r\ncontent-length: {len(raw)}\r\n"
    return port, head.encode() + b"\r\n" + raw


def _whole(raw: bytes) -> bool:
    head, end, rest = raw.partition(b"\r\n\r\n")
    if not end:
        return False
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(rest) >= int(line[15:])
    return True


def _play(calls: list[Call]) -> list[float]:
    """Milliseconds of each of some calls, one after the other, each server over one connection."""
    open_: dict[int, socket.socket] = {}
    took: list[float] = []
    for port, raw in calls:
        if port not in open_:
            open_[port] = socket.create_connection(("127.0.0.1", port))
            open_[port].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began, got = time.perf_counter(), b""
        open_[port].sendall(raw)
        while not _whole(got):
            more = open_[port].recv(65536)
            if not more:
                raise ConnectionError(f"the server on port {port} closed the connection: {got[:200]!r}")
            got += more
        took.append(1000 * (time.perf_counter() - began))
        if not got.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(f"the server on port {port} answered {got[:300]!r}")
    for s in open_.values():
        s.close()
    return took


def _play_all(abreast: list[list[Call]]) -> list[list[float]]:
    with ThreadPoolExecutor(len(abreast)) as pool:
        return list(pool.map(_play, abreast))


class Client:
    """Plays calls in another process."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(1, mp_context=mp.get_context("spawn"))

    async def play(self, abreast: list[list[Call]]) -> list[list[float]]:
        """Milliseconds of each call. Lists are played side by side, and the calls of one after each other."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, _play_all, abreast)

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown()


async def null_server(answer: bytes) -> tuple[int, Callable[[], Awaitable[None]]]:
    """A server that reads a request and answers the same bytes; its port, and what ends it."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(answer)}\r\n\r\n".encode()

    class Null(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(head + answer)  # type: ignore[attr-defined]

    server = await asyncio.get_running_loop().create_server(Null, "127.0.0.1", 0)

    async def end() -> None:
        server.close()

    return server.sockets[0].getsockname()[1], end
