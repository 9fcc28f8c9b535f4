"""The log of what people decided about a model: who, when, why; must not know who obeys."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from checkpointing import paths
from checkpointing.history import ahead
from checkpointing.packfile import Hex32, Int64, Number, Part
from checkpointing.signed import from_signed_json, to_signed_json
from infra.clock import Clock, new_uuid
from infra.errors import Corrupt, Invalid, Unavailable
from infra.object_store import AlreadyExists, NotFound, ObjectStore

DecisionKind = Literal["pin", "unpin", "promote", "pause", "resume", "revert-learner", "forget"]
OF_A_VERSION: Final = frozenset({"pin", "promote", "revert-learner"})
MOST_RACES: Final = 50
# How often a watch looks; replicas obey within a second.
CONTROL_EVERY_S: Final = 0.5


class RowKey(Part):
    """A row of some table by its key, whether or not there is one."""

    table: str
    key: Int64


class Decision(Part):
    """One entry, FORMAT.md 2.3.

    Attributes:
        format: Of this object.
        model: Name of the model.
        number: The number in the object's name.
        kind: What was decided.
        version: Which version it is about; None for unpin, pause, resume and forget.
        keys: What is to be forgotten; only for forget.
        who: Who decided.
        why: The reason, in that person's words.
        decided_ts: Milliseconds, by the clock of the machine where it was entered.
        uuid: Tells one's own entry from another's.
    """

    format: Literal[2] = 2
    model: Annotated[str, Field(min_length=1)]
    number: Number
    kind: DecisionKind
    version: Number | None
    keys: tuple[RowKey, ...] = ()
    who: Annotated[str, Field(min_length=1)]
    why: str
    decided_ts: Int64
    uuid: Hex32

    @model_validator(mode="after")
    def _is_about_a_version(self) -> Self:
        if (self.version is not None) != (self.kind in OF_A_VERSION):
            raise ValueError(f"version is {self.version} in a {self.kind}")
        if bool(self.keys) != (self.kind == "forget"):
            raise ValueError(f"{len(self.keys)} keys in a {self.kind}")
        return self

    @classmethod
    def from_json(cls, data: bytes, *, where: str = "decision") -> Decision:
        """Reads an entry; raises as :func:`checkpointing.signed.from_signed_json`."""
        return from_signed_json(cls, data, what="decision", where=where)


@dataclass(frozen=True)
class Decisions:
    """What holds now, after some entries of the log.

    Attributes:
        pin: Replicas answer from its version; None where they follow the newest.
        pause: The learner does not poll; None where it does.
        promoted: Versions that are servable though the gate refused them.
        revert: The newest wish that the learner go back; each version says by number which were obeyed.
        forgotten: The wishes that rows be forgotten, oldest first; they hold for ever.
        number: Of the newest entry; 0 without any.
    """

    pin: Decision | None = None
    pause: Decision | None = None
    promoted: frozenset[int] = frozenset()
    revert: Decision | None = None
    forgotten: tuple[Decision, ...] = ()
    number: int = 0

    def after(self, entry: Decision) -> Decisions:
        """What holds once ``entry`` is in the log, too."""
        return replace(self._after(entry), number=entry.number)

    def forgotten_keys(self, obeyed: int) -> dict[str, list[int]]:
        """The keys to be forgotten by table, as of the entry ``obeyed``."""
        keys: dict[str, list[int]] = {}
        for row in (row for entry in self.forgotten if entry.number <= obeyed for row in entry.keys):
            keys.setdefault(row.table, []).append(row.key)
        return keys

    def _after(self, entry: Decision) -> Decisions:
        if entry.kind in ("pin", "unpin"):
            return replace(self, pin=entry if entry.kind == "pin" else None)
        if entry.kind in ("pause", "resume"):
            return replace(self, pause=entry if entry.kind == "pause" else None)
        if entry.kind == "promote":
            return replace(self, promoted=self.promoted | {entry.version or 0})
        if entry.kind == "forget":
            return replace(self, forgotten=(*self.forgotten, entry))
        return replace(self, revert=entry)


class ControlLog:
    """Reads the log by number and appends to it; for one thread.

    Attributes:
        decisions: What held when it was last read.
        entries: How many entries were read.
    """

    def __init__(self, store: ObjectStore, model: str) -> None:
        """Makes no request yet."""
        self._store = store
        self._model = model
        self._started = False
        self.decisions = Decisions()
        self.entries = 0

    def poll(self) -> list[Decision]:
        """The entries since the last call; one get where there are none, and one list at first.

        Raises:
            Corrupt: An entry is wrong; those before it hold.
            Invalid: An entry has a newer format, or is of another model.
            Unavailable: The store does not answer.
        """
        found: list[Decision] = []
        if not self._started:
            numbers = [paths.decision_number(key) or 0 for key in self._store.list(paths.CONTROL)]
            found += map(self._taken, ahead(self._read, range(self.entries + 1, max(numbers, default=0) + 1)))
            self._started = True
        while (entry := self._read(self.entries + 1)) is not None:
            found.append(self._taken(entry))
        return found

    def append(
        self,
        kind: DecisionKind,
        *,
        who: str,
        why: str,
        clock: Clock,
        version: int | None = None,
        keys: Sequence[RowKey] = (),
    ) -> Decision:
        """Enters a decision after all others; it holds once this returns.

        Args:
            kind: What is decided.
            who: Who decides.
            why: The reason.
            clock: For the time of the entry.
            version: Which version it is about.
            keys: Which rows it is about.

        Raises:
            Unavailable: The store does not answer; look at the log before repeating it.
        """
        uuid = new_uuid()
        for _ in range(MOST_RACES):
            self.poll()
            entry = Decision(
                model=self._model,
                number=self.entries + 1,
                kind=kind,
                version=version,
                keys=tuple(keys),
                who=who,
                why=why,
                decided_ts=clock.now_ms(),
                uuid=uuid,
            )
            try:
                self._store.create(paths.decision_key(entry.number), to_signed_json(entry))
            except AlreadyExists:
                found = self._read(entry.number)
                if found is None or found.uuid != uuid:
                    continue
            self._taken(entry)
            return entry
        raise Unavailable(f"{MOST_RACES} others entered decisions first", cure="try again", where=self._store.url)

    def _taken(self, entry: Decision | None) -> Decision:
        if entry is None:
            key = paths.decision_key(self.entries + 1)
            raise Corrupt("the entry is missing between others", wanted="all of them", where=key)
        self.decisions = self.decisions.after(entry)
        self.entries = entry.number
        return entry

    def _read(self, number: int) -> Decision | None:
        key = paths.decision_key(number)
        try:
            entry = Decision.from_json(self._store.get(key), where=key)
        except NotFound:
            return None
        if entry.number != number:
            raise Corrupt(f"number is {entry.number}", wanted=str(number), where=key)
        if entry.model != self._model:
            raise Invalid(f"the store holds model `{entry.model}`", wanted=f"`{self._model}`", where=key)
        return entry


class ControlWatch:
    """Looks at the log twice a second for one that obeys it; a wrong entry is told, and those before it hold.

    Attributes:
        problem: What is wrong with the log; None where nothing is.
    """

    def __init__(self, store: ObjectStore, model: str, clock: Clock) -> None:
        """Makes no request yet."""
        self._log = ControlLog(store, model)
        self._clock = clock
        self._not_before = 0.0
        self.problem: Corrupt | Invalid | None = None

    @property
    def decisions(self) -> Decisions:
        """What held at the last look."""
        return self._log.decisions

    def look(self) -> bool:
        """Whether there are new decisions.

        Raises:
            Unavailable: The store does not answer; the next call looks again.
        """
        now = self._clock.monotonic()
        if now < self._not_before:
            return False
        known = self._log.entries
        try:
            self._log.poll()
            self.problem = None
        except (Corrupt, Invalid) as error:
            self.problem = error
        self._not_before = now + CONTROL_EVERY_S
        return self._log.entries > known
