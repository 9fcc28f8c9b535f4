"""A predictor's versions, as the follower hands them over; must not know how they arrive at the follower.

While there is no follower, the versions that are here go on answering; the next one hands over all it has.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket
import threading
from typing import Final

from infra.clock import Clock
from infra.errors import SpringtideError
from infra.logs import logger
from serving import handover
from serving.arrivals import Arrivals
from serving.control_page import ControlPage
from serving.snapshot import Published, none_yet
from serving.told import Answer, Prepare, Ready, Refused, encoded, told

# Between two attempts to reach the follower.
AGAIN_AFTER_S: Final = 0.1
LOOK_EVERY_S: Final = 0.5
# For the rest of a message that has begun.
WITHIN_S: Final = 10.0

_log = logger()


class Receiving:
    """The versions that can answer here. Many threads read; the thread in :meth:`run` takes what is handed over."""

    def __init__(self, arrivals: Arrivals, control: ControlPage, follower: str, clock: Clock) -> None:
        """Sets up.

        Args:
            arrivals: Makes versions ready.
            control: The page with the number by which all switch.
            follower: Path of the socket that the follower listens on.
            clock: Passes the time.
        """
        self._arrivals = arrivals
        self._control = control
        self._follower = follower
        self._clock = clock
        # Newest first; the first may be one that the number has not come to.
        self._versions: tuple[tuple[int, Published], ...] = ()
        self._not_understood = ""

    @property
    def kept(self) -> list[int]:
        """See :class:`serving.snapshot.Versions`."""
        return [one.version.number for one in self._readable()]

    def read(self) -> Published:
        """See :class:`serving.snapshot.Versions`."""
        # In this order: once the number has gone on, versions that it has left behind may be dropped.
        versions = self._versions
        number = self._control.number
        for sequence, published in versions:
            if sequence <= number:
                return published
        raise none_yet()

    def find(self, number: int) -> Published | None:
        """See :class:`serving.snapshot.Versions`."""
        readable = self._readable()
        if not readable:
            raise none_yet()
        return next((one for one in readable if one.version.number == number), None)

    def _readable(self) -> list[Published]:
        versions = self._versions
        number = self._control.number
        return [published for sequence, published in versions if sequence <= number]

    def run(self, stop: threading.Event) -> None:
        """Takes versions until ``stop`` is set."""
        while not stop.is_set():
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(WITHIN_S)
                try:
                    connection.connect(self._follower)
                    self._take(connection, stop)
                except (OSError, EOFError):
                    # It is started again by whoever watches over it; to what it had prepared it never switches now.
                    self._forget_prepared()
                except SpringtideError as error:
                    # Who is greeted anew is told all there is.
                    self._forget_prepared()
                    self._note(error)
            self._clock.wait(stop, AGAIN_AFTER_S)

    def _take(self, connection: socket.socket, stop: threading.Event) -> None:
        while not stop.is_set():
            if not handover.readable(connection, LOOK_EVERY_S):
                continue
            content, files = handover.receive(connection)
            try:
                message = told(content)
                self._not_understood = ""
                if isinstance(message, Prepare):
                    handover.send(connection, encoded(self._prepare(message, files)))
                else:
                    self._versions = tuple(one for one in self._versions if one[0] in message.sequences)
            finally:
                handover.close(files)

    def _forget_prepared(self) -> None:
        number = self._control.number
        self._versions = tuple(one for one in self._versions if one[0] <= number)

    def _note(self, error: SpringtideError) -> None:
        """Logs what could not be read, once per change of it."""
        if str(error) != self._not_understood:
            self._not_understood = str(error)
            _log.error("handover_not_understood", error=error)

    def _prepare(self, message: Prepare, files: list[int]) -> Answer:
        """Makes the version ready; returns what to answer."""
        try:
            published = self._arrivals.published(message, files, [one.rows for _, one in self._versions])
        except Exception as error:  # noqa: BLE001 - the follower tells it, and this goes on with what it has
            reason = f"{type(error).__name__}: {error}".encode(errors="backslashreplace").decode()
            return Refused(sequence=message.sequence, reason=reason)
        others = [one for one in self._versions if one[0] != message.sequence]
        self._versions = tuple(sorted([(message.sequence, published), *others], key=lambda one: -one[0]))
        return Ready(sequence=message.sequence)
