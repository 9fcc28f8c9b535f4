"""JSON messages to columns, whole batches at a time; must not know Kafka, features or the model."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from streaming import sample

# A sample that counts for more than a million others tells of a broken producer.
LARGEST_WEIGHT: Final = 1e6

# The inverse of a rate is a weight.
SMALLEST_RATE: Final = 1e-6

_LONGEST_REASON = 200

_REQUIRED = ("sample_id", "kind", "impression_ts", "received_ts", "known_ts", "weight")
_RATE = "down_sampling_rate"


@dataclass(frozen=True)
class Rejected:
    """A message that is no sample.

    Args:
        index: Its place in the list of messages.
        reason: Why, in one line.
    """

    index: int
    reason: str


@dataclass(frozen=True)
class Samples:
    """Samples as columns, in the order of their messages; every array has one entry for each.

    Args:
        columns: The features by their names in the sample, nulls where absent.
        index: ``[n]`` int64, each sample's place in the list of messages.
        sample_ids: ``[n]`` Arrow strings.
        kinds: ``[n]`` Arrow strings.
        labels: ``[n, labels]`` float32, 0 or 1, NaN where null.
        weights: ``[n]`` float32.
        log_rates: ``[n]`` float32, ln of the rate at which samples like it were kept; 0 where all were.
        impression_ms: ``[n]`` int64, event time of the impression.
        received_ms: ``[n]`` int64, Kafka's time of the sample's newest event.
        known_ms: ``[n]`` int64, when the label could be known.
    """

    columns: pa.Table
    index: npt.NDArray[np.int64]
    sample_ids: pa.Array
    kinds: pa.Array
    labels: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    log_rates: npt.NDArray[np.float32]
    impression_ms: npt.NDArray[np.int64]
    received_ms: npt.NDArray[np.int64]
    known_ms: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.index)

    def select(self, rows: npt.NDArray[np.int64]) -> Samples:
        """The samples at ``rows``, in that order."""
        taken = pa.array(rows)
        return Samples(
            columns=self.columns.take(taken),
            index=self.index[rows],
            sample_ids=self.sample_ids.take(taken),
            kinds=self.kinds.take(taken),
            labels=self.labels[rows],
            weights=self.weights[rows],
            log_rates=self.log_rates[rows],
            impression_ms=self.impression_ms[rows],
            received_ms=self.received_ms[rows],
            known_ms=self.known_ms[rows],
        )

    def not_after(self, latest_ms: npt.NDArray[np.int64]) -> Samples:
        """The samples with event times of at most ``latest_ms`` ``[n]``: a date in the future moves no clock."""
        return replace(
            self,
            impression_ms=np.minimum(self.impression_ms, latest_ms),
            known_ms=np.minimum(self.known_ms, latest_ms),
        )


class SampleDecoder:
    """Reads blocks of messages by an Arrow schema.

    A block is parsed in one call. If that fails, it is halved until only the broken messages stand alone, so that one
    of them among n costs about 2 n parsed messages, and none costs nothing.

    Args:
        schema: The sample's schema (``streaming.sample.sample_schema``).
        labels: The label columns, in the order of the model's outputs.
    """

    def __init__(self, schema: pa.Schema, labels: Sequence[str]) -> None:
        self._schema = schema
        self._labels = list(labels)
        self._parse = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")

    def decode(self, messages: Sequence[bytes | None]) -> tuple[Samples, list[Rejected]]:
        """Decodes ``messages`` in order.

        Returns:
            The samples, and what was set aside, by place.
        """
        rejected: list[Rejected] = []
        tables: list[pa.Table] = []
        kept: list[int] = []
        # Depth first and left to right, so that the order of the messages stands.
        blocks = [(0, len(messages))] if messages else []
        while blocks:
            begin, end = blocks.pop()
            try:
                tables.append(self._read(messages[begin:end]))
                kept.extend(range(begin, end))
            except (pa.ArrowInvalid, _NotASample) as error:
                if end - begin == 1:
                    rejected.append(Rejected(begin, _one_line(error)))
                else:
                    middle = (begin + end) // 2
                    blocks += [(middle, end), (begin, middle)]
        table = pa.concat_tables(tables).combine_chunks() if tables else self._schema.empty_table()
        return self._samples(table, np.array(kept, np.int64)), rejected

    def _read(self, messages: Sequence[bytes | None]) -> pa.Table:
        whole = [message for message in messages if message is not None]
        if len(whole) != len(messages):
            raise _NotASample("the message is empty (a tombstone)")
        if len(whole) == 1:
            block = whole[0].strip()
            if not block:
                raise _NotASample("the message is empty")
        else:
            block = b"\n".join(whole)
            # One object a line and no line break elsewhere: else two messages could make one object, or one message
            # two, and rows would stand for other messages than their own.
            if not _one_object_a_line(block, len(whole)):
                raise _NotASample("the messages are not one object a line")
        table = pj.read_json(
            pa.BufferReader(block),
            read_options=pj.ReadOptions(use_threads=False, block_size=len(block) + 1),
            parse_options=self._parse,
        )
        if table.num_rows != len(whole):
            raise _NotASample(f"{table.num_rows} objects in {len(whole)} message(s)")
        self._check(table)
        return table

    def _check(self, table: pa.Table) -> None:
        # Arrow's JSON reader takes any bytes for text, and not every null for one in a required column.
        table.validate(full=True)
        for name in _REQUIRED:
            if table[name].null_count:
                raise _NotASample(f"`{name}` is null or absent")
        weights = table["weight"].to_numpy()
        if not np.all((weights >= 0) & (weights <= LARGEST_WEIGHT)):
            raise _NotASample("`weight` is negative or too large")
        rates = _rates(table)
        if not np.all((rates >= SMALLEST_RATE) & (rates <= 1)):
            raise _NotASample(f"`{_RATE}` is not between {SMALLEST_RATE:g} and 1")
        for name in self._labels:
            label = table[name]
            if pc.all(pc.or_(pc.equal(label, 0), pc.equal(label, 1))).as_py() not in (True, None):
                raise _NotASample(f"`{name}` is neither 0 nor 1 nor null")
        if not pc.all(pc.greater(pc.binary_length(table["sample_id"]), 0)).as_py():
            raise _NotASample("`sample_id` is empty")

    def _samples(self, table: pa.Table, index: npt.NDArray[np.int64]) -> Samples:
        labels = np.empty((len(index), len(self._labels)), np.float32)
        for place, name in enumerate(self._labels):
            labels[:, place] = table[name].cast(pa.float32()).to_numpy()
        return Samples(
            columns=table.drop_columns([*_REQUIRED, _RATE, *self._labels]),
            index=index,
            sample_ids=_array(table, "sample_id"),
            kinds=_array(table, "kind"),
            labels=labels,
            weights=table["weight"].to_numpy().astype(np.float32),
            log_rates=np.log(_rates(table)).astype(np.float32),
            impression_ms=_milliseconds(table, "impression_ts"),
            received_ms=_milliseconds(table, "received_ts"),
            known_ms=_milliseconds(table, "known_ts"),
        )


class _NotASample(Exception):
    """The block holds a message that is well-formed perhaps, but no sample."""


def join_keys(sample_ids: pa.Array) -> pa.Array:
    """The join key of each sample id ``<join key>#<label>.<n>``; a key may hold ``#`` itself."""
    return pc.replace_substring_regex(sample_ids, r"#[^#]*$", "")


def is_feedback(kinds: pa.Array) -> npt.NDArray[np.bool_]:
    """Which samples hold something a user did; the others are verdicts for want of it."""
    return _are(kinds, sample.CLICK, sample.CORRECTED)


def is_timeout(kinds: pa.Array) -> npt.NDArray[np.bool_]:
    """Which samples are verdicts for want of feedback, given when event time had passed the window."""
    return _are(kinds, sample.TIMEOUT)


def is_late(kinds: pa.Array) -> npt.NDArray[np.bool_]:
    """Which samples hold feedback that came after the verdict of none."""
    return _are(kinds, sample.CORRECTED)


def _are(kinds: pa.Array, *wanted: str) -> npt.NDArray[np.bool_]:
    found = pc.is_in(kinds, value_set=pa.array(wanted))
    return np.asarray(found.to_numpy(zero_copy_only=False), np.bool_)


def _one_object_a_line(block: bytes, lines: int) -> bool:
    """Whether ``block`` is ``lines`` lines, 2 or more, and a brace stands on both sides of each break between them.

    By arrays, which let other threads run meanwhile; counting in the bytes themselves would hold up the step.
    """
    text = np.frombuffer(block, np.uint8)
    breaks = np.flatnonzero(text == ord("\n"))
    if len(breaks) != lines - 1 or breaks[0] == 0 or breaks[-1] == len(text) - 1:
        return False
    return bool(np.all(text[breaks - 1] == ord("}")) and np.all(text[breaks + 1] == ord("{")))


def _rates(table: pa.Table) -> npt.NDArray[np.float64]:
    """The rates of down-sampling; one that is null or absent is 1."""
    return np.asarray(table[_RATE].fill_null(1.0).to_numpy(), np.float64)


def _array(table: pa.Table, name: str) -> pa.Array:
    column = table[name]
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def _milliseconds(table: pa.Table, name: str) -> npt.NDArray[np.int64]:
    return np.asarray(table[name].cast(pa.timestamp("ms")).cast(pa.int64()).to_numpy(), np.int64)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:_LONGEST_REASON]
