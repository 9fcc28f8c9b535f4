"""A connection of the web server that answers plain questions to the model itself; knows nothing of what is asked.

Between two requests, one whose first lines `plain_heads` knows is read and answered here, without the framework. All
else goes to uvicorn's own protocol, with every byte that has come: there is no second meaning of anything. What holds
for both (limits, turns, figures) is `answering`'s.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from asyncio import TimerHandle
from dataclasses import dataclass
from typing import Any, Final

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving import answering as limits
from serving.answering import Answering
from serving.inference import Inference
from serving.plain_heads import LARGEST_HEAD, METHOD, PlainHead, PlainHeads
from serving.refusals import Refused

HEAD_END: Final = b"\r\n\r\n"
# Of what comes while a request is being answered; a client that sends more has to wait.
MOST_AHEAD: Final = 1 << 16
# Bytes of a body that most models answer in a millisecond or two; how long they take is measured, too.
SHORT: Final = 1 << 15


@dataclass(frozen=True)
class Direct:
    """What all connections share.

    Attributes:
        heads: Knows plain questions.
        inference: Answers them.
        answering: Limits, threads and figures.
    """

    heads: PlainHeads
    inference: Inference
    answering: Answering


class Connection(HttpToolsProtocol):
    """One connection, in the event loop's thread."""

    def __init__(self, direct: Direct, **arguments: Any) -> None:
        """Sets up; ``arguments`` are uvicorn's."""
        super().__init__(**arguments)
        self._direct = direct
        self._in_message = False  # the framework's parser has a request that has not ended
        self._head: PlainHead | None = None
        self._parts: list[bytes] = []  # of a plain request that is arriving, its head among them
        self._body_at = 0
        self._missing = 0
        self._held = 0
        self._timer: TimerHandle | None = None
        self._busy = False  # a plain request is being answered
        self._ahead: list[bytes] = []
        self._closing = False

    def data_received(self, data: bytes) -> None:
        """Takes what has come."""
        if self._busy:
            self._ahead.append(data)
            if sum(map(len, self._ahead)) > MOST_AHEAD:
                self.flow.pause_reading()
        elif self._head is not None:
            self._take(data)
        elif data.startswith(METHOD) and self._between():
            end = data.find(HEAD_END, 0, LARGEST_HEAD)
            head = None if end < 0 else self._direct.heads.read(data[: end + len(HEAD_END)])
            if head is None:
                super().data_received(data)
            else:
                self._unset_keepalive_if_required()
                self._head = head
                self._body_at = end + len(HEAD_END)
                self._missing = self._body_at + head.length
                self._take(data)
        else:
            super().data_received(data)

    def _between(self) -> bool:
        """Whether what comes begins a request, and nothing is to be answered before it."""
        answered = self.cycle is None or self.cycle.response_complete
        return answered and not (
            self._in_message or self.pipeline or self.flow.write_paused or self.transport.is_closing()
        )

    def _take(self, data: bytes) -> None:
        assert self._head is not None
        self._parts.append(data)
        self._missing -= len(data)
        try:
            self._direct.answering.hold(len(data))
        except Refused:
            self._leave()
            return
        self._held += len(data)
        if self._missing < 0:  # another request is right behind it
            self._leave()
        elif self._missing > 0:
            if self._timer is None:
                self._timer = self.loop.call_later(limits.BODY_WITHIN_S, self._leave)
        else:
            self._answer(self._head)

    def _leave(self) -> None:
        """Leaves the request to the framework."""
        parts = self._forget()
        super().data_received(b"".join(parts))

    def _forget(self) -> list[bytes]:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._direct.answering.release(self._held)
        self._held = 0
        self._head = None
        parts, self._parts = self._parts, []
        return parts

    def _answer(self, head: PlainHead) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._busy = True
        content = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        body = content[self._body_at :]
        direct = self._direct
        direct.answering.submit(
            head.asked.protocol,
            head.path,
            lambda: direct.inference.answer(head.asked, body),
            self._answered,
            short=len(body) <= SHORT,
        )

    def _answered(self, response: Response) -> None:
        self._forget()
        self._busy = False
        ahead, self._ahead = b"".join(self._ahead), []
        if self.transport.is_closing():
            return
        lines = [STATUS_LINE[response.status_code]]
        for name, value in (*self.server_state.default_headers, *response.raw_headers):
            lines += (name, b": ", value, b"\r\n")
        if self._closing:
            lines.append(b"connection: close\r\n")
        self.transport.write(b"".join([*lines, b"\r\n", bytes(response.body)]))
        self.server_state.total_requests += 1
        if self._closing:
            self.transport.close()
            return
        self.flow.resume_reading()
        if ahead:
            self.data_received(ahead)
        else:
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def shutdown(self) -> None:
        """Ends what has begun, then the connection."""
        if self._busy:
            self._closing = True
            return
        if self._head is not None:
            self._leave()
        super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Lets go of what has come."""
        if not self._busy:
            self._forget()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Told by the framework's parser."""
        self._in_message = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """Told by the framework's parser."""
        self._in_message = False
        super().on_message_complete()
