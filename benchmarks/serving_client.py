"""Asks a server over kept connections, one request after the other or by a clock of its own; knows no model."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import http.client
import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import orjson
from numpy.typing import NDArray

from benchmarks.serving_workload import NAMES, USER_FEATURES

HEADER_LENGTH = "Inference-Header-Content-Length"


@dataclass(frozen=True)
class Call:
    """A request, ready to be sent."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def raw(self) -> bytes:
        """All of it in bytes."""
        headers = {**self.headers, "Host": "bench", "Content-Length": str(len(self.body))}
        lines = [f"POST {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def binary_call(ids: NDArray[np.int64]) -> Call:
    """Protocol v2 with binary tensors, the user's features once."""
    inputs, tail = [], []
    for place, name in enumerate(NAMES):
        user = place < USER_FEATURES
        values = np.ascontiguousarray(ids[:1, place] if user else ids[:, place])
        parameters: dict[str, object] = {"binary_data_size": values.nbytes}
        if user:
            parameters["shared"] = True
        inputs.append({"name": name, "datatype": "INT64", "shape": [len(values)], "parameters": parameters})
        tail.append(values.tobytes())
    head = orjson.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}})
    headers = {HEADER_LENGTH: str(len(head)), "Content-Type": "application/octet-stream"}
    return Call("/v2/models/bench/infer", headers, head + b"".join(tail))


def json_call(ids: NDArray[np.int64]) -> Call:
    """TensorFlow Serving's REST predict in columns, the user's features once."""
    shared = {name: int(ids[0, place]) for place, name in enumerate(NAMES[:USER_FEATURES])}
    own = {name: ids[:, place].tolist() for place, name in enumerate(NAMES) if place >= USER_FEATURES}
    body = orjson.dumps({"shared": shared, "inputs": own})
    return Call("/v1/models/bench:predict", {"Content-Type": "application/json"}, body)


def rows_call(ids: NDArray[np.int64]) -> Call:
    """One object per candidate, as people write it."""
    body = orjson.dumps({"instances": [dict(zip(NAMES, row, strict=True)) for row in ids.tolist()]})
    return Call("/predict", {"Content-Type": "application/json"}, body)


def ask_all(port: int, calls: Sequence[Call]) -> bytes:
    """Asks one after the other over one connection; returns the last answer.

    Raises:
        RuntimeError: One was not answered with 200.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port)
    content = b""
    for call in calls:
        connection.request("POST", call.path, call.body, call.headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != http.client.OK:
            raise RuntimeError(f"{answer.status}: {content[:200]!r}")
    connection.close()
    return content


class Load:
    """Connections that are kept, and requests by the clock."""

    def __init__(self, port: int, calls: Sequence[Call]) -> None:
        self._port = port
        self._calls = itertools.cycle([call.raw for call in calls])
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self) -> None:
        """One request over an idle connection, or a new one; BlockingIOError where there are too many."""
        reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(next(self._calls))
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 429"):
            writer.close()
            raise BlockingIOError(head.decode())
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode())
        lines = head.lower().split(b"\r\n")
        length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
        await reader.readexactly(length)
        self._idle.append((reader, writer))

    async def peak(self, seconds: float, clients: int) -> float:
        """Requests per second where each client asks again as soon as it is answered."""
        asked = 0
        end = time.perf_counter() + seconds

        async def client() -> None:
            nonlocal asked
            while time.perf_counter() < end:
                await self.ask()
                asked += 1

        await asyncio.gather(*(client() for _ in range(clients)))
        return asked / seconds

    async def at_rate(self, rate: float, seconds: float) -> NDArray[np.float64]:
        """Milliseconds from when each request was due to its answer, whatever became of others; endless if refused."""
        waits: list[float] = []

        async def one(due: float) -> None:
            try:
                await self.ask()
            except BlockingIOError:
                waits.append(math.inf)
            else:
                waits.append((time.perf_counter() - due) * 1e3)

        begin = time.perf_counter()
        tasks = []
        for number in range(int(rate * seconds)):
            due = begin + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(one(due)))
        await asyncio.gather(*tasks)
        return np.array(waits)

    def close(self) -> None:
        """Closes what is idle."""
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()
