"""Hands each version to every predictor and switches all of them by one number; must not know how versions arrive.

A version is prepared by all predictors before the number says that it answers. One that does not manage, or has died,
holds nobody up for longer than ``WITHIN_S``: its connection is closed, and it is greeted anew when it comes back. The
memory of a version goes with the last process that has it, and a process that died has nothing.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import socket
import threading
from typing import Final

from infra.clock import Clock
from infra.errors import SpringtideError
from infra.logs import logger
from serving import handover
from serving.arrivals import prepare
from serving.control_page import ControlPage
from serving.snapshot import Published
from serving.told import Keep, Ready, Refused, answer, encoded

# To make a version ready; beyond it a predictor goes on with the version before, and the others do not wait.
WITHIN_S: Final = 5.0
LOOK_EVERY_S: Final = 0.5

_log = logger()


class Publishing:
    """The follower's side. One thread announces, one greets."""

    def __init__(self, listener: socket.socket, control: ControlPage, kept: int, clock: Clock) -> None:
        """Sets up; :meth:`greet` takes predictors from then on.

        Args:
            listener: Where predictors connect.
            control: The page with the number.
            kept: How many versions can be asked for by number, the one that answers included.
            clock: Says how long a predictor takes.
        """
        self._listener = listener
        self._control = control
        self._kept = kept
        self._clock = clock
        self._lock = threading.Lock()
        self._predictors: list[socket.socket] = []
        # Newest first; a version that was only compacted stands once.
        self._published: list[tuple[int, Published]] = []

    @property
    def predictors(self) -> int:
        """How many have all versions."""
        return len(self._predictors)

    def announce(self, published: Published) -> None:
        """Returns once all predictors answer from ``published``."""
        with self._lock:
            sequence = self._control.number + 1
            self._tell(self._predictors, sequence, published)
            self._control.publish(sequence)
            others = [one for one in self._published if one[1].version.number != published.version.number]
            self._published = [(sequence, published), *others][: self._kept]
            self._tell_kept(self._predictors)

    def greet(self, stop: threading.Event) -> None:
        """Takes predictors until ``stop`` is set, and gives each all versions there are."""
        self._listener.settimeout(LOOK_EVERY_S)
        while not stop.is_set():
            self._drop_gone()
            with contextlib.suppress(TimeoutError):
                connection, _ = self._listener.accept()
                connection.settimeout(WITHIN_S)
                try:
                    self._take(connection)
                except Exception as error:  # noqa: BLE001 - the next one may be luckier, and this one comes back
                    connection.close()
                    _log.warning("predictor_left_behind", reason=f"{type(error).__name__}: {error}")

    def close(self) -> None:
        """Lets all predictors go; they answer from what they have."""
        with self._lock:
            for connection in self._predictors:
                connection.close()
            self._predictors.clear()

    def _drop_gone(self) -> None:
        with self._lock:
            for connection in list(self._predictors):
                # It sends nothing unasked: what can be read now is its end.
                if handover.readable(connection, 0):
                    self._drop(self._predictors, connection, "it has gone")

    def _take(self, connection: socket.socket) -> None:
        with self._lock:
            one = [connection]
            for sequence, published in reversed(self._published):
                self._tell(one, sequence, published)
            if self._published:  # else it keeps what another follower gave it
                self._tell_kept(one)
            self._predictors += one

    def _tell(self, predictors: list[socket.socket], sequence: int, published: Published) -> None:
        """Gives a version to ``predictors`` side by side; those that cannot take it are dropped from the list."""
        message, files = encoded(prepare(sequence, published)), published.rows.files
        for connection in list(predictors):
            try:
                handover.send(connection, message, files)
            except OSError as error:
                self._drop(predictors, connection, str(error))
        deadline = self._clock.monotonic() + WITHIN_S
        for connection in list(predictors):
            try:
                left = max(0.0, deadline - self._clock.monotonic())
                if not handover.readable(connection, left):
                    raise TimeoutError(f"no answer within {WITHIN_S:g} s")
                self._check_answer(connection, sequence)
            except EOFError:
                self._drop(predictors, connection, "it has gone")
            except (OSError, SpringtideError) as error:
                self._drop(predictors, connection, str(error))

    @staticmethod
    def _check_answer(connection: socket.socket, sequence: int) -> None:
        content, files = handover.receive(connection)
        handover.close(files)
        found = answer(content)
        if isinstance(found, Refused):
            raise OSError(found.reason)
        if found != Ready(sequence=sequence):
            raise OSError(f"it has {found.sequence} ready and not {sequence}")

    def _tell_kept(self, predictors: list[socket.socket]) -> None:
        message = encoded(Keep(sequences=tuple(sequence for sequence, _ in self._published)))
        for connection in list(predictors):
            try:
                handover.send(connection, message)
            except OSError as error:
                self._drop(predictors, connection, str(error))

    def _drop(self, predictors: list[socket.socket], connection: socket.socket, reason: str) -> None:
        predictors.remove(connection)
        connection.close()
        _log.warning("predictor_left_behind", reason=reason)
