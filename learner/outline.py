"""The outline of a pipeline, in versions and as what it says: a model's input, its ids' keys; must not know any change.

Outlines are those of ``infra.feature_spec.state_outline``, of now or out of an old version.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Outline = Mapping[str, Any]
NamedArrays = dict[str, npt.NDArray[Any]]

# Beside the state of the dense weights' rule: every version says what made it, and so does every base.
OUTLINE: Final = "outline"

# Floats that a row of the models' input is padded to a multiple of.
_LINE: Final = 16


def outline_to_arrays(outline: Outline) -> NamedArrays:
    """The outline as an array of a version."""
    return {OUTLINE: np.frombuffer(zlib.compress(json.dumps(outline, sort_keys=True).encode()), np.uint8)}


def outline_of(arrays: Mapping[str, npt.NDArray[Any]]) -> Outline | None:
    """What :func:`outline_to_arrays` was given; None where a version has none.

    Raises:
        ValueError: The bytes are no outline.
    """
    if OUTLINE not in arrays:
        return None
    try:
        outline: Outline = json.loads(zlib.decompress(np.asarray(arrays[OUTLINE], np.uint8).tobytes()))
    except zlib.error as error:
        raise ValueError(f"the outline of its pipeline cannot be read: {error}") from error
    return outline


def without_outline(arrays: Mapping[str, npt.NDArray[Any]]) -> NamedArrays:
    """The other arrays."""
    return {name: array for name, array in arrays.items() if name != OUTLINE}


def columns_taken_over(old: Outline, new: Outline) -> tuple[int, ...]:
    """Per column of the new input, the old one that it takes over."""
    used, found = input_columns(old), taken_over(input_columns(old), input_columns(new))
    # What pads both stays what it is; nothing ever fills it.
    padding = (place if len(used) <= place < stride(old) else -1 for place in range(len(found), stride(new)))
    return (*found, *padding)


def input_columns(outline: Outline) -> list[tuple[Any, ...]]:
    """A name for each column of the input: what it would have to be to mean the same."""
    dims = {table["name"]: table["dim"] for table in outline["tables"]}
    names: list[tuple[Any, ...]] = []
    for feature in outline["features"]:
        if feature["kind"] == "number":
            continue
        # Columns belong to a feature and its table; what fills them may change.
        of = (feature["name"], feature["table"], feature.get("combiner") == "none")
        dim = dims[feature["table"]]
        positions = feature.get("length") or 1
        names += [(*of, position, place) for position in range(positions) for place in range(dim)]
        if feature.get("combiner") == "none":
            names.append((*of, "length"))
    return [*names, *(("number", *number) for number in numbers(outline))]


def numbers(outline: Outline) -> list[tuple[Any, ...]]:
    """A name for each number feature, likewise."""
    found = (feature for feature in outline["features"] if feature["kind"] == "number")
    return [(feature["name"], feature["source"], feature["scaling"]) for feature in found]


def standard_numbers(outline: Outline) -> list[tuple[Any, ...]]:
    """Those of them with standard scaling."""
    return [number for number in numbers(outline) if number[-1] == "standard"]


def taken_over(old: Sequence[tuple[Any, ...]], new: Sequence[tuple[Any, ...]]) -> tuple[int, ...]:
    """Per name in ``new`` its place in ``old``; -1: it is not there."""
    places = {name: place for place, name in enumerate(old)}
    return tuple(places.get(name, -1) for name in new)


def stride(outline: Outline) -> int:
    """Columns of the input, padding included."""
    return max(1, -(-len(input_columns(outline)) // _LINE)) * _LINE


def keys_of(feature: Mapping[str, Any], outline: Outline) -> tuple[Any, ...]:
    """What decides which key a value has, and which values come."""
    sources = feature.get("sources") or [feature["source"]]
    types = tuple((source, _element(outline["fields"][source])) for source in sources)
    return feature["kind"], types, str(feature.get("vocabulary")), str(feature.get("boundaries"))


def _element(kind: str) -> str:
    """A list's ids have the keys that single ones have."""
    return kind.removeprefix("list[").removesuffix("]")


def keys_of_table(name: str, outline: Outline) -> set[tuple[Any, ...]]:
    """Which kinds of keys a table has rows for."""
    return {keys_of(feature, outline) for feature in outline["features"] if feature.get("table") == name}


def sequence_of(feature: Mapping[str, Any]) -> tuple[Any, ...]:
    """Whether ids stand side by side, how many, and which."""
    return feature.get("combiner") == "none", feature.get("length"), feature.get("keep")


def sources_of(outline: Outline) -> list[str]:
    """The columns of a sample that features read, each once, in their order."""
    found = (feature.get("sources") or [feature["source"]] for feature in outline["features"])
    return list(dict.fromkeys(source for sources in found for source in sources))
