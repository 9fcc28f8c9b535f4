"""The only file that knows how objects are named; must not know what is in them."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from typing import Literal

MANIFESTS = "manifests/"
VERSIONS = "versions/"
GRAPHS = "graphs/"
# Reserved by FORMAT.md for compaction, decisions and collection; nothing writes them yet.
BASES = "bases/"
CONTROL = "control/"
COLLECTION = "gc/"

PackName = Literal["pack", "serving.pack", "state.pack"]

_MANIFEST = re.compile(r"manifests/([0-9]{20})\.json", re.ASCII)
_PACK = re.compile(r"versions/([1-9][0-9]{0,18})/([1-9][0-9]{0,18})-([0-9a-f]{32})/(pack|serving\.pack|state\.pack)")
_GRAPH = re.compile(r"graphs/([0-9a-f]{64})/graph\.pb")


def manifest_key(version: int) -> str:
    return f"{MANIFESTS}{version:020d}.json"


def manifest_version(key: str) -> int | None:
    """The version whose manifest ``key`` is, or None where it is another object."""
    match = _MANIFEST.fullmatch(key)
    return int(match[1]) if match else None


def pack_key(version: int, epoch: int, attempt: str, name: PackName) -> str:
    return f"{VERSIONS}{version}/{epoch}-{attempt}/{name}"


def is_pack_of(key: str, version: int, epoch: int, attempt: str) -> bool:
    """Whether ``key`` may stand in the manifest of this version; anything else is refused, never fetched."""
    match = _PACK.fullmatch(key)
    return match is not None and (int(match[1]), int(match[2]), match[3]) == (version, epoch, attempt)


def pack_name(key: str) -> str:
    """The last part of a pack's key: ``pack``, ``serving.pack`` or ``state.pack``."""
    return key.rsplit("/", 1)[-1]


def graph_key(sha256: str) -> str:
    return f"{GRAPHS}{sha256}/graph.pb"


def is_graph(key: str, sha256: str) -> bool:
    """Whether ``key`` is where a graph with this hash must lie."""
    match = _GRAPH.fullmatch(key)
    return match is not None and match[1] == sha256
