"""Says that a writer lives while its process restores; must not know what is restored."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from types import TracebackType
from typing import Final, Self

from checkpointing.writer import QUIET_S, Writer
from infra.clock import Clock
from infra.errors import SpringtideError, Unavailable

# Three tries before another identity may take the line over.
EVERY_S: Final = QUIET_S / 3


class KeptAlive:
    """Commits heartbeats from a thread of its own until the block ends; nobody else may commit meanwhile.

    ``check`` raises what the thread met, such as ``Fenced``; call it often, so that a restore ends that is in vain.
    The end of the block raises it, too.
    """

    def __init__(self, writer: Writer, clock: Clock, *, every_s: float = EVERY_S) -> None:
        """Starts nothing yet.

        Args:
            writer: The claim to keep.
            clock: Passes the time.
            every_s: Seconds between two heartbeats.
        """
        self._writer = writer
        self._clock = clock
        self._every_s = every_s
        self._end = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="keep-alive", daemon=True)

    def check(self) -> None:
        """Raises what ended the heartbeats, if anything has.

        Raises:
            Fenced: Another writer has taken over.
            Corrupt: Something else has the next number.
        """
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while not self._clock.wait(self._end, self._every_s):
            try:
                self._writer.heartbeat()
            except Unavailable:
                continue  # it stays pending, and the next try lands it
            except BaseException as error:  # noqa: BLE001 - it is raised in the thread that restores
                self._error = error
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        if error is None or isinstance(error, SpringtideError):
            self.check()
