"""Clients on sockets of their own: slow ones, those that vanish, and what a service has left when all are gone."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import socket
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.gateway.serving import Served, until

RESET = struct.pack("ii", 1, 0)


@dataclass(eq=False)
class Client:
    """One request on a socket of its own. ``got``: what was read so far."""

    s: socket.socket
    got: bytearray = field(default_factory=bytearray)

    @classmethod
    async def opened(
        cls,
        gate: Served,
        body: Any,
        *,
        receive: int | None = None,
        path: str = "/v1/chat/completions",
        method: str = "POST",
    ) -> Client:
        """Connect and send; ``receive``: bytes that the socket takes in, few where the reader is to be slow."""
        s = socket.socket()
        s.setblocking(False)
        if receive is not None:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.0\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        head += f"content-length: {len(raw)}\r\n\r\n"
        loop = asyncio.get_running_loop()
        port = int(gate.url.rpartition(":")[2])
        await loop.sock_connect(s, ("127.0.0.1", port))
        await loop.sock_sendall(s, head.encode() + raw)
        return cls(s)

    async def read(self, most: int = 65536) -> bytes:
        """The next bytes; none at the end."""
        piece = await asyncio.get_running_loop().sock_recv(self.s, most)
        self.got += piece
        return piece

    async def rest(self) -> Client:
        """Read to the end."""
        while await self.read():
            pass
        self.s.close()
        return self

    async def until(self, mark: bytes) -> None:
        while mark not in self.got:
            assert await self.read(), bytes(self.got[-500:])

    def vanish(self, *, reset: bool = False) -> None:
        """Go without a word, or by a reset."""
        if reset:
            self.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.s.close()

    @property
    def status(self) -> int:
        return int(self.got.split(b" ", 2)[1])

    @property
    def headers(self) -> dict[str, str]:
        lines = bytes(self.got).partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        return {k.lower(): v for k, _, v in (x.partition(": ") for x in lines)}

    @property
    def body(self) -> str:
        return bytes(self.got).partition(b"\r\n\r\n")[2].decode()

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """Those of a whole stream."""
        assert self.status == 200 and self.body.endswith("data: [DONE]\n\n"), self.got[-500:]
        return [json.loads(x[6:]) for x in self.body.split("\n\n") if x.startswith("data: {")]

    @property
    def text(self) -> str:
        """What was said in the end, whole or streamed."""
        if not self.body.startswith(("data", ":")):
            return str(json.loads(self.body)["choices"][0]["message"]["content"])
        assert not any("error" in c for c in self.chunks), self.chunks[-1]
        return "".join(c["choices"][0]["delta"].get("content", "") for c in self.chunks if c["choices"])


def loop_of(gate: Served) -> Any:
    """The engine's own."""
    model: Any = gate.service.keeper.model
    return model.engine._loop


def rows_of(gate: Served) -> int:
    """Rows in the batch."""
    return len(loop_of(gate).batch.rows)


def unsent(gate: Served) -> int:
    """Bytes that wait in the server for slow readers."""
    return sum(c.transport.get_write_buffer_size() for c in list(gate.server.server_state.connections))


def nothing_left(gate: Served) -> None:
    """No place, row, task, connection of a client or of the database is still in use."""
    keeper: Any = gate.service.keeper
    loop = loop_of(gate)

    def left() -> dict[str, int]:
        out = {
            "places": gate.service.running,
            "rows": len(loop.batch.rows) + len(loop._waiting) + len(loop._scores),
            "kept": len(keeper._keeping) + len(keeper._asking),
            "clients": len(gate.server.server_state.connections),
            # its main task, uvicorn's own two, and whoever asks here
            "tasks": max(0, len(asyncio.all_tasks(gate.loop)) - 3),
        }
        base = getattr(gate.store, "_base", None)
        if base is not None:
            kept = getattr(base, "_kept", None) is not None  # the connection of the thread that writes
            out["database"] = base._engine.pool.checkedout() - kept + len(gate.store._tasks)
        return {k: v for k, v in out.items() if v}

    try:
        until(lambda: not left(), seconds=20)
    except AssertionError:
        raise AssertionError(f"left: {left()}: {asyncio.all_tasks(gate.loop)}") from None


def resident(process: int | str = "self") -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def trimmed() -> None:
    """What was freed goes back to the system, so that what is measured is what is held."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
