"""Asks several sources side by side for a bounded time; must not know what they are asked."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Final

from infra.errors import SpringtideError

MOST_THREADS: Final = 32


@dataclass(frozen=True, slots=True)
class Told:
    """What came of one question: its answer, or why there is none."""

    answer: Any = None
    error: SpringtideError | None = None

    @classmethod
    def by(cls, poll: Callable[[], Any]) -> Told:
        """Asks now."""
        try:
            return cls(poll())
        except SpringtideError as error:
            return cls(error=error)


class Gathering:
    """Questions that are on their way, each under a key, one at a time of each. For one thread.

    To hand a question to another thread costs about as much as a quick answer: whoever has several quick ones asks
    them under one key.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="page")
        self._flying: dict[Hashable, Future[Any]] = {}

    def ask(self, key: Hashable, question: Callable[[], Any]) -> None:
        """Asks, unless the last answer under ``key`` is still on its way."""
        if key not in self._flying:
            self._flying[key] = self._pool.submit(question)

    def asks(self, key: Hashable) -> bool:
        """Whether an answer is on its way."""
        return key in self._flying

    def wait(self, seconds: float) -> None:
        """Waits until all are there, but no longer than ``seconds``."""
        wait(self._flying.values(), timeout=seconds)

    def taken(self) -> dict[Hashable, Any]:
        """The answers that have come, by key; each once.

        Raises:
            Exception: What a question raised.
        """
        come = [key for key, flying in self._flying.items() if flying.done()]
        return {key: self._flying.pop(key).result() for key in come}

    def close(self) -> None:
        """Waits for what is on its way, and asks nothing more."""
        self._pool.shutdown(wait=True, cancel_futures=True)
