"""XXH64 against published vectors and against its specification written out in Python."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import _core
from kernels.arrow_columns import hash_text
from tests.kernels import reference_hash as reference

# Published with the algorithm's reference implementation and its bindings; also in kernels/HASHING.md.
PUBLISHED = [
    (b"", 0, 0xEF46DB3751D8E999),
    (b"a", 0, 0xD24EC4F1A98C6E5B),
    (b"abc", 0, 0x44BC2CF5AD770999),
    (b"xxhash", 0, 3665147885093898016),
    (b"xxhash", 20141025, 0xB559B98D844E0635),
    (b"Nobody inspects the spammish repetition", 0, 0xFBCEA83C8A378BF1),
]


@pytest.mark.parametrize(("data", "seed", "wanted"), PUBLISHED)
def test_published_vectors(data: bytes, seed: int, wanted: int) -> None:
    assert _core.xxh64(data, seed) == wanted
    assert reference.xxh64(data, seed) == wanted


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 2**64 - 1))
def test_equals_the_specification(data: bytes, seed: int) -> None:
    assert _core.xxh64(data, seed) == reference.xxh64(data, seed)


@settings(deadline=None)
@given(st.lists(st.text(max_size=40), max_size=20), st.integers(0, 5), st.booleans())
def test_strings_are_hashed_where_arrow_keeps_them(texts: list[str], skip: int, wide: bool) -> None:
    array = pa.array(texts, pa.large_string() if wide else pa.string()).slice(min(skip, len(texts)))
    wanted = [np.uint64(reference.xxh64(text.encode())).astype(np.int64) for text in texts[skip:]]
    assert hash_text(array, "ids").tolist() == wanted


def test_text_bytes_and_chunks_hash_alike() -> None:
    texts = ["", "a", "Zürich", "x" * 100]
    plain = hash_text(pa.array(texts), "ids")
    for other in (
        pa.array([text.encode() for text in texts]),
        pa.array([text.encode() for text in texts], pa.large_binary()),
        pa.chunked_array([texts[:1], [], texts[1:]], pa.string()),
        pa.array(texts).dictionary_encode(),
    ):
        np.testing.assert_array_equal(hash_text(other, "ids"), plain)


def test_offsets_outside_the_data_are_refused() -> None:
    data = np.zeros(4, np.uint8)
    for offsets in ([0, 5], [-1, 2], [0, 3, 2], [4, 2]):
        with pytest.raises(ValueError, match="string offsets must rise"):
            _core.hash_strings(np.array(offsets, np.int32), data)
