"""A replica's answer is the learner's model, to the last digits that the order of sums leaves open."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from serving.prediction import Question
from tests.serving.conftest import Replica, Served
from tests.serving.model import Model, arrow, make_columns

# Float32 over two layers; numpy and TensorFlow sum in different orders.
TOLERANCE = 2e-6


def predicted(replica: Replica, columns: dict[str, list[object]], rows: int) -> np.ndarray:  # type: ignore[type-arg]
    return replica.predictor.predict(Question(arrow(columns), rows)).values


def test_answer_equals_the_model(served: Served) -> None:
    columns = make_columns(40, seed=3)
    np.testing.assert_allclose(
        predicted(served.replica, columns, 40), served.model.expected(columns), rtol=0, atol=TOLERANCE
    )


def test_deltas_add_up(model: Model, replica: Replica) -> None:
    columns = make_columns(30, seed=11)
    for seed in range(5):
        manifest = model.commit(seed)
        replica.following.step()
        assert replica.predictor.version == manifest.version
        np.testing.assert_allclose(predicted(replica, columns, 30), model.expected(columns), rtol=0, atol=TOLERANCE)


def test_several_versions_in_one_switch(model: Model, replica: Replica) -> None:
    for seed in range(4):
        model.commit(seed)
    replica.following.step()
    columns = make_columns(30, seed=12)
    np.testing.assert_allclose(predicted(replica, columns, 30), model.expected(columns), rtol=0, atol=TOLERANCE)
    assert [applied.version for applied in replica.following.applied] == [5]


def test_never_seen_keys_read_as_the_learner_would_begin_them(served: Served) -> None:
    columns = make_columns(3)
    columns |= {
        "user": ["nobody-1", "nobody-2", None],
        "item": [-(2**63), 2**63 - 1, 123456789],
        "tags": [[5000], [], None],
    }
    got = predicted(served.replica, columns, 3)
    np.testing.assert_allclose(got, served.model.expected(columns), rtol=0, atol=TOLERANCE)
    # The rows themselves, bit for bit: the learner has created them by now, the replica has not.
    batch = served.model.encoder.encode(arrow(columns))
    served.model.tables.prepare(batch)
    learners = served.model.tables.buffer[: served.model.tables.lookup()].copy()
    switch = served.replica.switch
    with served.replica.readers.reader() as reader:
        assert reader.lookup(batch, switch.read().rows).tobytes() == learners.tobytes()
        assert reader.absent == 6


def test_tombstone_brings_the_initial_row_back(model: Model, replica: Replica) -> None:
    columns = make_columns(8, seed=1)
    model.commit(seed=1)
    item = next(item for item in columns["item"] if item is not None)
    model.tables.erase("items", np.array([item], np.int64))
    model.writer.commit(model.content(model.tables.capture()))
    replica.following.step()
    np.testing.assert_allclose(predicted(replica, columns, 8), model.expected(columns), rtol=0, atol=TOLERANCE)


def test_rows_are_refused_by_no_order_of_columns(served: Served) -> None:
    columns = make_columns(5)
    backwards = dict(reversed(columns.items()))
    assert (predicted(served.replica, columns, 5) == predicted(served.replica, backwards, 5)).all()


@pytest.mark.parametrize("rows", [1, 64])
def test_smallest_and_largest_request(served: Served, rows: int) -> None:
    columns = make_columns(rows, seed=5)
    assert predicted(served.replica, columns, rows).shape == (rows, 1)
