"""Deterministic tasks on a virtual clock: who runs next follows from one seed; knows no store and no protocol."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import heapq
import itertools
import random
import threading
from collections.abc import Callable

import greenlet


class Crash(BaseException):
    """The process of a task ended without a word; nothing may catch it but the scheduler."""


class Task:
    """One process: a function that is started again a while after it ended or crashed."""

    def __init__(self, name: str, body: Callable[[], None], rest_s: float) -> None:
        self.name = name
        self.body = body
        self.rest_s = rest_s
        self.dead = False
        # Tells one life from the next.
        self.life = 0
        # When it began what it does now, and how long it has stood still since, in one piece.
        self.began = 0.0
        self.longest_stall = 0.0
        # Whether each of its requests takes long, in this life.
        self.slow = False
        self.greenlet: greenlet.greenlet | None = None


class Scheduler:
    """Runs the task that is due next; a pause is the only place where another one runs."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.current: Task | None = None
        self.steps = 0
        self._due: list[tuple[float, int, Task | Callable[[], None]]] = []
        self._order = itertools.count()
        self._hub = greenlet.getcurrent()
        self._tasks: list[Task] = []

    def spawn(self, name: str, body: Callable[[], None], rest_s: float = 5.0) -> Task:
        """Starts ``body`` at a random moment soon; when it ends, it starts again."""
        task = Task(name, body, rest_s)
        self._tasks.append(task)
        self._at(self.now + self.random.random() * 10, task)
        return task

    def begin(self) -> None:
        """The running task begins something new: what it stood still before is no excuse any more."""
        if self.current is not None:
            self.current.began, self.current.longest_stall = self.now, 0.0

    def later(self, seconds: float, effect: Callable[[], None]) -> None:
        """Runs ``effect`` after ``seconds``, on nobody's behalf."""
        self._at(self.now + seconds, effect)

    def pause(self, seconds: float) -> None:
        """Lets ``seconds`` pass for the task that calls it, while others run."""
        task = self.current
        if task is None:
            self.now += seconds
            return
        if task.dead:
            raise Crash
        self._at(self.now + seconds, task)
        self._hub.switch()
        if task.dead:
            raise Crash

    def crash(self) -> None:
        """Ends the life of the task that calls it."""
        if self.current is not None:
            self.current.dead = True
            raise Crash

    def run(self, until: float) -> None:
        """Runs everything that is due before ``until``."""
        while self._due and self._due[0][0] <= until:
            self.now, _, due = heapq.heappop(self._due)
            self.steps += 1
            if not isinstance(due, Task):
                due()
                continue
            if due.greenlet is None or due.greenlet.dead:
                due.greenlet = greenlet.greenlet(lambda task=due: self._live(task))
                due.dead = False
                due.life += 1
                due.longest_stall = 0.0
                due.slow = due.name.startswith("reader") and self.random.random() < 0.5
            self.current = due
            try:
                due.greenlet.switch()
            finally:
                self.current = None
        self.now = max(self.now, until)

    def end(self) -> None:
        """Kills every task."""
        for task in self._tasks:
            if task.greenlet is not None and not task.greenlet.dead:
                task.dead = True
                self.current = task
                task.greenlet.switch()
        self.current = None
        self._tasks.clear()
        self._due = [due for due in self._due if not isinstance(due[2], Task)]
        heapq.heapify(self._due)

    def _live(self, task: Task) -> None:
        with contextlib.suppress(Crash):
            task.body()
        self._at(self.now + task.rest_s * (0.5 + self.random.random()), task)

    def _at(self, moment: float, due: Task | Callable[[], None]) -> None:
        heapq.heappush(self._due, (moment, next(self._order), due))


class VirtualClock:
    """The clock of every task."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def now_ms(self) -> int:
        return 1_700_000_000_000 + round(self._scheduler.now * 1000)

    def monotonic(self) -> float:
        return self._scheduler.now

    def sleep(self, seconds: float) -> None:
        self._scheduler.pause(seconds)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        if not event.is_set():
            self._scheduler.pause(seconds)
        return event.is_set()
