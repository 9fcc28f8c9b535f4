"""What processes of a replica tell each other arrives as it was, or is refused whole and by name."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from infra.errors import Corrupt, Invalid
from kernels.dense_layers import DenseLayer
from serving.chain_program import PortableChain
from serving.dense_program import PortableGraph
from serving.lite_program import Converted
from serving.message import FORM, MARK, START
from serving.program import PortableProgram
from serving.shared_rows import FirstLayer, Split
from serving.told import Keep, Prepare, Ready, Refused, answer, encoded, told

COUNTS = st.integers(0, (1 << 63) - 1)
NAMES = st.text(max_size=9)
BYTES = st.binary(max_size=40)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
ARRAYS = hnp.arrays(
    st.sampled_from([np.dtype(name) for name in ("float32", "float64", "int64", "uint8", "bool", ">f4")]), SHAPES
)
CONVERTED = st.builds(Converted, BYTES, st.lists(NAMES, min_size=1, max_size=3).map(tuple), st.integers(1, 3))
INT64 = hnp.arrays(np.int64, hnp.array_shapes(max_dims=1, min_side=0, max_side=4))


WIDTHS = st.integers(0, 4)


def floats(*shape: int) -> st.SearchStrategy[Any]:
    return hnp.arrays(np.float32, shape)


@st.composite
def chains(draw: st.DrawFn, shared: int | None) -> PortableChain:
    """One that meets so many shared numbers; None: that of a whole program."""
    widths = draw(st.lists(WIDTHS, min_size=2, max_size=4))
    layers = tuple(
        DenseLayer(draw(floats(a, b)), draw(st.none() | floats(b)), draw(st.booleans()))
        for a, b in itertools.pairwise(widths)
    )
    reads_rows, once = draw(st.booleans()), []
    if shared is not None:
        once = [draw(floats(shared, draw(WIDTHS))) for _ in range(draw(st.integers(0, 2)))]
    names = [f"n{at}" for at in range(1 + reads_rows + len(once))]
    return PortableChain(
        layers=layers,
        own=draw(st.none() | hnp.arrays(np.int64, widths[0])),
        shared=None if shared is None else draw(floats(shared, widths[1])),
        sigmoid=draw(st.booleans()),
        parts=draw(st.sampled_from([2, 3])),
        head=draw(st.none() | st.builds(Converted, BYTES, st.tuples(NAMES))),
        tail=draw(st.none() | st.builds(Converted, BYTES, st.just(tuple(names)), st.just(1 + reads_rows))),
        reads_rows=reads_rows,
        once=tuple(once),
    )


@st.composite
def splits(draw: st.DrawFn) -> tuple[Split, list[Any], Converted | PortableChain]:
    layers = draw(st.lists(st.builds(FirstLayer, NAMES, COUNTS), min_size=1, max_size=3).map(tuple))
    split = Split(layers, draw(INT64), draw(INT64), draw(st.booleans()))
    if draw(st.booleans()):
        return split, [], draw(chains(len(split.shared)))
    return split, [draw(floats(len(split.shared), draw(WIDTHS))) for _ in layers], draw(CONVERTED)


PREPARES = st.builds(
    Prepare,
    sequence=COUNTS,
    version=COUNTS,
    committed_ts=COUNTS,
    statistics=st.dictionaries(NAMES, ARRAYS, max_size=3),
    program=st.one_of(
        st.builds(PortableProgram, NAMES, CONVERTED | chains(None), st.none() | splits()),
        st.builds(PortableGraph, BYTES, NAMES, st.dictionaries(NAMES, ARRAYS, max_size=3)),
    ),
    layout=st.lists(st.integers(0, (1 << 64) - 1), max_size=9).map(tuple),
)
KEEPS = st.builds(Keep, sequences=st.lists(COUNTS, max_size=4).map(tuple))
TOLD = PREPARES | KEEPS
ANSWERS = st.builds(Ready, sequence=COUNTS) | st.builds(Refused, sequence=COUNTS, reason=st.text())
SMALL = Prepare(
    1, 2, 3, {"means": np.ones(2)}, PortableProgram("f", Converted(b"program", ("input",)), None), (7, 1 << 63)
)


def plain(value: Any) -> Any:
    """Everything that a value consists of, to be compared."""
    if isinstance(value, np.ndarray):
        return value.dtype.newbyteorder("="), value.shape, value.astype(value.dtype.newbyteorder("=")).tobytes()
    if dataclasses.is_dataclass(value):
        fields = [plain(getattr(value, field.name)) for field in dataclasses.fields(value)]
        return type(value).__name__, fields
    if isinstance(value, dict):
        return [(name, plain(entry)) for name, entry in value.items()]
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value


@given(TOLD)
def test_what_is_told_arrives_as_it_was(message: Prepare | Keep) -> None:
    assert plain(told(encoded(message))) == plain(message)


@given(ANSWERS)
def test_what_is_answered_arrives_as_it_was(message: Ready | Refused) -> None:
    assert answer(encoded(message)) == message


@given(TOLD, st.data())
def test_what_is_cut_short_or_too_long_is_refused(message: Prepare | Keep, data: st.DataObject) -> None:
    whole = encoded(message)
    with pytest.raises(Corrupt):
        told(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(Corrupt, match="after its end"):
        told(whole + data.draw(st.binary(min_size=1, max_size=5)))


@given(TOLD, st.data())
def test_spoilt_bytes_are_refused_or_make_another_message(message: Prepare | Keep, data: st.DataObject) -> None:
    """Nothing but a clear error or a whole message comes of it, whatever the bytes."""
    whole = bytearray(encoded(message))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = told(bytes(whole))
    except (Corrupt, Invalid) as error:
        assert "between the processes of a replica" in str(error)
    else:
        assert plain(told(encoded(found))) == plain(found)


@given(st.binary(max_size=80), st.booleans())
def test_any_bytes_are_refused(content: bytes, begins_well: bool) -> None:
    start = START.pack(MARK, FORM, len(content)) if begins_well else b""
    for reads in (told, answer):
        with pytest.raises((Corrupt, Invalid)):
            reads(start + content)


def test_another_release_is_named_with_the_cure() -> None:
    message = encoded(SMALL)
    newer = START.pack(MARK, FORM + 1, START.unpack_from(message)[2]) + message[START.size :]
    with pytest.raises(Invalid, match=f"a message of form {FORM + 1}; wanted form {FORM}. Cure: restart the replica"):
        told(newer)


def test_an_answer_is_not_taken_for_what_is_told() -> None:
    with pytest.raises(Corrupt, match="wrong"):
        told(encoded(Ready(sequence=1)))
    with pytest.raises(Corrupt, match="wrong"):
        answer(encoded(SMALL))


@pytest.mark.parametrize(
    ("old", "new", "refused"),
    [
        (b'"version":2', b'"version":-', "whose head is wrong"),
        (b'"version":2', b'"versiom":2', "wrong"),
        (b'"version":2,', b'"version":2.5,', "version"),
        (b'"lite"', b'"code"', "program"),
        (b'"float64"', b'"object0"', "statistics.means.type"),
        (b'"shape":[2]', b'"shape":[9]', "too early"),
        (b'"shape":[2]', b'"shape":[1]', "after its end"),
        (b'"shape":[2]', b'"shape":[0,4611686018427387904,8]', "array of shape"),
        (b'"content":7', b'"content":9', "too early"),
    ],
)
def test_what_a_head_may_not_say(old: bytes, new: bytes, refused: str) -> None:
    message = encoded(SMALL)
    assert message.count(old) == 1
    spoilt = message.replace(old, new)
    size = START.unpack_from(message)[2] + len(new) - len(old)
    with pytest.raises(Corrupt, match=refused):
        told(START.pack(MARK, FORM, size) + spoilt[START.size :])


def test_an_array_of_objects_is_not_told() -> None:
    with pytest.raises(Corrupt, match="an array of object"):
        encoded(dataclasses.replace(SMALL, statistics={"means": np.array([object()])}))
