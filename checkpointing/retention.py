"""Which versions a store keeps: by number, by age, every Nth for ever, and what somebody holds; deletes nothing."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from infra.errors import Invalid


@dataclass(frozen=True)
class Retention:
    """How much of the line stays; a version is kept if any of the three wants it.

    Attributes:
        versions: The newest so many can each be restored.
        age_s: And all that are younger than this; never less than the grace time.
        every: The first base in every so many versions stays for ever; None keeps none for ever.
    """

    versions: int = 1000
    age_s: float = 6 * 3600.0
    every: int | None = None

    def __post_init__(self) -> None:
        for name, value, least in (("versions", self.versions, 1), ("age", self.age_s, 0), ("every", self.every, 1)):
            if value is not None and value < least:
                raise Invalid(f"retention: {name} is {value}", wanted=f"at least {least}", where="retention")


@dataclass(frozen=True)
class LineFacts:
    """What a collection must know of the kept part of the line beyond its numbers.

    Attributes:
        modified_ms: When each manifest was put, by version.
        reverts: Version and ``base_ref`` of each revert, committed or under way.
        servable: The newest version that replicas may answer from; 0 where there is none.
    """

    modified_ms: Mapping[int, int]
    reverts: Collection[tuple[int, int]] = ()
    servable: int = 0

    def needed_below(self, first: int) -> set[int]:
        """What versions after ``first`` start from, and replicas answer from, below it."""
        needed = {ref for version, ref in self.reverts if version > first}
        return {version for version in needed | {self.servable} if 0 < version < first}


def boundary_of(
    bases: Sequence[int],
    facts: LineFacts,
    held: Collection[int],
    retention: Retention,
    before: int,
    now_ms: int,
    kept: Collection[int] = (),
) -> int:
    """The largest base from which on everything wanted can be restored, or ``before`` where there is none above it.

    Args:
        bases: Versions that have a usable base, ascending.
        facts: Of the versions from ``before`` on.
        held: Versions that a pin, a lease or a decision holds.
        retention: The policy; its age is at least the grace time.
        before: The boundary so far.
        now_ms: The store's time.
        kept: Bases below ``before`` that are still there.
    """
    if not facts.modified_ms:
        return before
    newest = max(facts.modified_ms)
    young = (version for version, at in facts.modified_ms.items() if at > now_ms - retention.age_s * 1000)
    # What is held below the boundary was lost before.
    limit = min([newest - retention.versions + 1, *young, *(version for version in held if version >= before)])
    while True:
        found = max((base for base in bases if before < base <= limit), default=before)
        # What has a base of its own can stay without what is around it.
        missing = facts.needed_below(found).difference(bases, kept)
        if not missing or found == before:
            return found
        limit = min(missing)


def kept_for_ever(bases: Iterable[int], every: int | None) -> set[int]:
    """The first of ``bases``, ascending, in each block of ``every`` versions."""
    if every is None:
        return set()
    first: dict[int, int] = {}
    for base in bases:
        first.setdefault(base // every, base)
    return set(first.values())
