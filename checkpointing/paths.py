"""The only file that knows how objects are named; must not know what is in them."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from typing import Final, Literal

MANIFESTS: Final = "manifests/"
VERSIONS: Final = "versions/"
GRAPHS: Final = "graphs/"
BASES: Final = "bases/"
COMPACTED: Final = "compacted/"
CONTROL: Final = "control/"
COLLECTION: Final = "gc/"
LEASES: Final = "gc/leases/"
BOUNDARIES: Final = "gc/boundaries/"
# One that was replaced, before there was a log of them.
FIRST_BOUNDARY_KEY: Final = "gc/boundary.json"
# Written by a collection to learn what time it is in the store.
STORE_CLOCK: Final = "gc/clock/"
STORE_CLOCK_KEY: Final = "gc/clock/now"

PackName = Literal["pack", "serving.pack", "state.pack"]

_NUMBER = r"[1-9][0-9]{0,18}"
_ATTEMPT = r"[0-9a-f]{32}"
_PACKS = r"(?:pack|serving\.pack|state\.pack)"
_MANIFEST = re.compile(r"manifests/([0-9]{20})\.json", re.ASCII)
_DECISION = re.compile(r"control/([0-9]{20})\.json", re.ASCII)
_BASE = re.compile(r"bases/([0-9]{20})\.json", re.ASCII)
_BOUNDARY = re.compile(r"gc/boundaries/([0-9]{20})\.json", re.ASCII)
_PACK = re.compile(rf"versions/({_NUMBER})/({_NUMBER})-({_ATTEMPT})/{_PACKS}")
_REVERT = re.compile(rf"versions/({_NUMBER})/{_NUMBER}-{_ATTEMPT}/from-({_NUMBER})")
_BASE_PACK = re.compile(rf"compacted/({_NUMBER})/({_ATTEMPT})/([0-9]{{4}})/{_PACKS}", re.ASCII)
_GRAPH = re.compile(rf"graphs/([0-9a-f]{{64}})/(?:graph|({_NUMBER})-{_ATTEMPT})\.pb")
_LEASE = re.compile(rf"gc/leases/({_ATTEMPT})\.json")


def manifest_key(version: int) -> str:
    return f"{MANIFESTS}{version:020d}.json"


def manifest_version(key: str) -> int | None:
    """The version whose manifest ``key`` is, or None where it is another object."""
    return _number(_MANIFEST, key)


def pack_key(version: int, epoch: int, attempt: str, name: PackName) -> str:
    return f"{VERSIONS}{version}/{epoch}-{attempt}/{name}"


def is_pack_of(key: str, version: int, epoch: int, attempt: str) -> bool:
    """Whether ``key`` may stand in the manifest of this version; anything else is refused, never fetched."""
    match = _PACK.fullmatch(key)
    return match is not None and (int(match[1]), int(match[2]), match[3]) == (version, epoch, attempt)


def upload_version(key: str) -> int | None:
    """The version that ``key``, a pack or the mark of a revert, was uploaded for; None where it is another object."""
    version = _number(_PACK, key)
    return _number(_REVERT, key) if version is None else version


def revert_key(version: int, epoch: int, attempt: str, base_ref: int) -> str:
    """The mark of a revert that is under way or committed: it holds what it starts from."""
    return f"{VERSIONS}{version}/{epoch}-{attempt}/from-{base_ref}"


def revert_of(key: str) -> tuple[int, int] | None:
    """The version of the revert whose mark ``key`` is, and what it starts from; None where it is another object."""
    match = _REVERT.fullmatch(key)
    return (int(match[1]), int(match[2])) if match else None


def pack_name(key: str) -> PackName:
    """The last part of a pack's key: ``pack``, ``serving.pack`` or ``state.pack``."""
    return key.rsplit("/", 1)[-1]  # type: ignore[return-value]


def base_key(version: int) -> str:
    return f"{BASES}{version:020d}.json"


def base_version(key: str) -> int | None:
    """The version whose base ``key`` is, or None where it is another object."""
    return _number(_BASE, key)


def base_pack_key(version: int, attempt: str, part: int, name: PackName) -> str:
    return f"{COMPACTED}{version}/{attempt}/{part:04d}/{name}"


def is_base_pack_of(key: str, version: int, attempt: str, part: int) -> bool:
    """Whether ``key`` may stand in this part of this base."""
    match = _BASE_PACK.fullmatch(key)
    return match is not None and (int(match[1]), match[2], int(match[3])) == (version, attempt, part)


def base_pack_version(key: str) -> int | None:
    """The version that the base's pack ``key`` was made for, or None where it is another object."""
    return _number(_BASE_PACK, key)


def graph_key(sha256: str, version: int, attempt: str) -> str:
    return f"{GRAPHS}{sha256}/{version}-{attempt}.pb"


def graph_version(key: str) -> int | None:
    """The first version that could name the graph ``key``, or None where it is another object."""
    match = _GRAPH.fullmatch(key)
    return int(match[2] or 0) if match else None


def is_graph(key: str, sha256: str) -> bool:
    """Whether ``key`` is where a graph with this hash must lie; format 1 kept one copy, ``graph.pb``."""
    match = _GRAPH.fullmatch(key)
    return match is not None and match[1] == sha256


def decision_key(number: int) -> str:
    return f"{CONTROL}{number:020d}.json"


def decision_number(key: str) -> int | None:
    """The number of the decision ``key``, or None where it is another object."""
    return _number(_DECISION, key)


def boundary_key(number: int) -> str:
    return f"{BOUNDARIES}{number:020d}.json"


def boundary_number(key: str) -> int | None:
    """The number of the boundary's entry ``key``, or None where it is another object."""
    return _number(_BOUNDARY, key)


def lease_key(holder: str) -> str:
    return f"{LEASES}{holder}.json"


def is_lease(key: str) -> bool:
    return _LEASE.fullmatch(key) is not None


def _number(pattern: re.Pattern[str], key: str) -> int | None:
    match = pattern.fullmatch(key)
    return int(match[1]) if match else None
