"""An exported SavedModel is loaded by a plain TensorFlow and answers as a replica does."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.pipeline_file import dump_pipeline
from kernels.settings import InitializerKind, InitializerSettings, Rung, TableSettings
from kernels.tables import AdmissionSettings, ColumnSettings, EmbeddingTables, EncodedBatch
from serving.prediction import Question
from serving.saved_model import absent_rows
from serving.tensorflow_runtime import tf
from springtide.transfer import export
from tests.serving.conftest import Replica
from tests.serving.model import Columns, Model, arrow, make_columns

# Knows nothing of this project: `-I` keeps its folder out of the path.
STRANGER = """
import sys
import numpy as np
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
inputs = {name: tf.constant(value) for name, value in np.load(sys.argv[2]).items()}
np.save(sys.argv[3], model(**inputs)["prediction"].numpy())
assert not any(name.split(".")[0] in ("kernels", "serving", "springtide") for name in sys.modules)
"""


def inputs(model: Model, columns: Columns) -> dict[str, Any]:
    """What the SavedModel is asked with: keys and where each sample's begin, and numbers as they come."""
    batch = model.encoder.encode(arrow(columns))
    asked: dict[str, Any] = {}
    for column, ids, splits in zip(model.encoder.columns, batch.ids, batch.splits, strict=True):
        asked[column.name] = ids
        asked[f"{column.name}_splits"] = np.arange(batch.rows + 1) if splits is None else splits.astype(np.int64)
    for name in ("price", "age", "member"):
        asked[name] = np.array([np.nan if value is None else float(value) for value in columns[name]])
    return asked


def test_another_tensorflow_answers_as_the_replica(model: Model, replica: Replica, tmp_path: Path) -> None:
    for seed in range(3):
        model.commit(seed)
    replica.following.step()
    pipeline = tmp_path / "pipeline.yaml"
    pipeline.write_text(dump_pipeline(model.pipeline), encoding="utf-8")
    folder = tmp_path / "out"
    export(pipeline, folder, None)
    columns = make_columns(40, seed=9)
    columns["user"][:3] = ["nobody-1", "nobody-2", None]
    columns["item"][:3] = [-(2**63), 2**63 - 1, 123_456_789]
    columns["price"][:2] = [float("inf"), -1e300]
    asked = inputs(model, columns)
    np.savez(tmp_path / "asked.npz", **asked)
    places = (folder / "saved_model", tmp_path / "asked.npz", tmp_path / "told")
    command = [sys.executable, "-I", "-c", STRANGER, *map(str, places)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    told = np.load(f"{tmp_path / 'told'}.npy")
    answered = replica.predictor.predict(Question(arrow(columns), 40)).values
    np.testing.assert_allclose(told, answered, rtol=0, atol=2e-6)


@pytest.mark.parametrize("kind", ["normal", "truncated_normal", "uniform", "constant"])
def test_an_unseen_key_reads_as_in_the_tables(kind: InitializerKind) -> None:
    plain = TableSettings("some table", 12, seed=5, initializer=InitializerSettings(kind, 0.25))
    keys = np.concatenate([np.random.default_rng(1).integers(-(2**63), 2**63 - 1, 500), [0, -1, -(2**63), 2**63 - 1]])
    for settings in (
        plain,
        dataclasses.replace(plain, ladder=(Rung(4, 10),)),
        dataclasses.replace(plain, admission=AdmissionSettings("counter", not_admitted=0.5)),
    ):
        tables = EmbeddingTables([settings], [ColumnSettings("id", settings.name)], 0, len(keys), trainable=False)
        batch = EncodedBatch(len(keys), (keys,), (None,), np.empty((len(keys), 0), np.float32))
        rows = tables.reader().lookup(batch)[:, : settings.dim]
        np.testing.assert_allclose(absent_rows(settings, tf.constant(keys)), rows, rtol=1e-6, atol=1e-9)
