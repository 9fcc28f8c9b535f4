"""Short work on the event loop: in order, one between two looks at the sockets, bounded, and only while it is short."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest
from starlette.responses import Response

from infra.clock import SystemClock
from infra.metrics import Metrics
from serving.answering import LONGEST_SHORT_S, MOST_WAITING, WORKERS, Answering

CLOCK = SystemClock()
MOST = WORKERS + MOST_WAITING


class Asked:
    """Answers something and remembers who was answered, how, and in which thread."""

    def __init__(self, shared: Answering) -> None:
        self.shared = shared
        self.codes: dict[int, int] = {}
        self.threads: dict[int, int] = {}

    def ask(
        self, number: int, work: Callable[[], object] = lambda: None, then: Callable[[], None] = lambda: None
    ) -> None:
        def run() -> Response:
            self.threads[number] = threading.get_ident()
            work()
            return Response(b"")

        def done(response: Response) -> None:
            self.codes[number] = response.status_code
            then()

        self.shared.submit("v2", "/x", run, done, short=True)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.codes) < count:
                await asyncio.sleep(0)


@pytest.fixture
def asked() -> Iterator[Asked]:
    shared = Answering(max_body=100, metrics=Metrics("replica", clock=CLOCK), clock=CLOCK)
    yield Asked(shared)
    shared.close()


def fail() -> None:
    raise RuntimeError("broken")


def test_all_are_answered_in_order_and_too_many_at_once_are_told(asked: Asked) -> None:
    async def crowd() -> None:
        for number in range(MOST):
            # One breaks, and one asks again from within its answer, as a connection does with what came ahead.
            asked.ask(
                number, fail if number == 3 else lambda: None, (lambda: asked.ask(100)) if number == 5 else lambda: None
            )
        assert asked.codes == {}  # nothing runs before the sockets were looked at
        asked.ask(99)
        assert asked.codes == {99: 429}
        await asked.until(MOST + 2)
        assert list(asked.codes) == [99, *range(MOST), 100]
        assert {number for number, code in asked.codes.items() if code != 200} == {99, 3}
        assert set(asked.threads.values()) == {threading.get_ident()}
        for number in range(MOST):  # none of them counts as under way any more
            asked.ask(200 + number)
        await asked.until(2 * MOST + 2)
        assert asked.codes[200 + MOST - 1] == 200

    asyncio.run(crowd())


def test_others_have_their_turn_between_two(asked: Asked) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def crowd() -> None:
        beside = asyncio.create_task(others())
        for number in range(MOST):
            asked.ask(number)
        await asked.until(MOST)
        beside.cancel()
        assert turns >= MOST - 1

    asyncio.run(crowd())


def test_what_is_long_all_the_same_goes_to_threads_until_it_is_short_again(asked: Asked) -> None:
    async def crowd() -> None:
        count = 0
        slow = threading.Event()
        while set(asked.threads.values()) <= {threading.get_ident()}:
            assert count < 100
            asked.ask(count, lambda: slow.wait(4 * LONGEST_SHORT_S))
            count += 1
            await asked.until(count)
        here = count
        while asked.threads[count - 1] != threading.get_ident():
            assert count - here < 200
            asked.ask(count)
            count += 1
            await asked.until(count)

    asyncio.run(crowd())
