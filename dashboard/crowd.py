"""Knows which processes are to be asked, also where one name stands for many; must not know what they answer."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dashboard.targets import Answer, Role, Target
from infra.addresses import Resolve, addresses_of, asked, has_name
from infra.clock import Clock
from infra.spec_dashboard import Targets

# Each takes about a millisecond.
IN_A_LANE: Final = 16
# Who comes or goes behind a name is noticed within so many seconds.
EVERY_S: Final = 5.0

Found = dict[str, tuple[str | None, ...]]


@dataclass(frozen=True, slots=True)
class Placed:
    """One process to be asked: its role, its URL, and of several addresses behind that URL's name the one."""

    role: Role
    url: str
    address: str | None


@dataclass(frozen=True, eq=False)
class Lane:
    """Processes that are asked one after the other."""

    targets: tuple[Target, ...]

    def ask(self) -> list[Answer]:
        """The answer of each."""
        return [target.poll() for target in self.targets]


class Crowd:
    """Join, learner and every replica. :meth:`look` is for one thread at a time, all else for one thread.

    Args:
        listed: What the pipeline says.
        clock: Passes the time.
        resolve: Asks the name service, as ``socket.getaddrinfo`` does.
    """

    def __init__(self, listed: Targets, clock: Clock, resolve: Resolve = asked) -> None:
        self._clock = clock
        self._resolve = resolve
        self._replicas = listed.replicas
        self._not_before = 0.0
        named: tuple[tuple[Role, str | None], ...] = (("join", listed.join), ("learner", listed.learner))
        self._alone = [Placed(role, url, None) for role, url in named if url]
        self._names = [url for url in listed.replicas if has_name(url)]
        self._seen: Found = {}
        # Nobody behind a name is asked before it is known how many they are.
        self._found: Found = {url: (None,) for url in listed.replicas if url not in self._names}
        self._targets: dict[Placed, Target] = {}
        self._asked: set[Target] = set()
        self._gone: set[Target] = set()
        self.take({})

    @property
    def targets(self) -> Sequence[Target]:
        """Those to be asked now."""
        return list(self._targets.values())

    @property
    def due(self) -> bool:
        """Whether it is time to look again."""
        return bool(self._names) and self._clock.monotonic() >= self._not_before

    def lanes(self) -> list[Lane]:
        """Those who are not being asked, to be asked side by side: :meth:`heard` wants the answers of each.

        Who answered the last time answers at once: many of them stand in one lane. Who did not may take long, and holds
        up nobody else.
        """
        free = [target for target in self._targets.values() if target not in self._asked]
        quick = [target for target in free if target.up]
        lanes = [Lane(tuple(quick[at : at + IN_A_LANE])) for at in range(0, len(quick), IN_A_LANE)]
        lanes += [Lane((target,)) for target in free if not target.up]
        self._asked.update(free)
        return lanes

    def heard(self, lanes: Mapping[Lane, Sequence[Answer]]) -> list[Answer]:
        """The answers of the lanes that have come, without those of who has gone meanwhile."""
        found: list[Answer] = []
        for lane, answers in lanes.items():
            for target, answer in zip(lane.targets, answers, strict=True):
                self._asked.discard(target)
                if target in self._gone:
                    self._gone.discard(target)
                    target.close()
                else:
                    found.append(answer)
        return found

    def look(self) -> Found:
        """Which addresses stand behind each name; for :meth:`take`.

        While a name cannot be resolved, who was known goes on being asked; and of one that never could be, the name
        itself, whose answer says what is wrong.
        """
        self._not_before = self._clock.monotonic() + EVERY_S
        for url in self._names:
            try:
                self._seen[url] = addresses_of(url, self._resolve)
            except OSError:
                self._seen.setdefault(url, (None,))
        return dict(self._seen)

    def take(self, found: Found) -> list[str]:
        """Asks from now on who was found.

        Returns:
            The base addresses of those who stand behind no name any longer.
        """
        self._found |= found
        wanted = dict.fromkeys([*self._alone, *self._placed()])
        gone = [self._targets.pop(placed) for placed in list(self._targets) if placed not in wanted]
        for placed in wanted:
            if placed not in self._targets:
                self._targets[placed] = Target(placed.role, placed.url, self._clock, placed.address)
        for target in gone:
            if target in self._asked:
                self._gone.add(target)  # another thread holds its connection
            else:
                target.close()
        return [target.url for target in gone]

    def close(self) -> None:
        """Ends every connection."""
        for target in (*self._targets.values(), *self._gone):
            target.close()

    def _placed(self) -> Iterable[Placed]:
        for url in self._replicas:
            for address in self._found.get(url, ()):
                yield Placed("replica", url, address)
