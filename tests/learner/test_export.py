"""The exported graph: plain nodes, the model's own predictions, the same bytes in every process."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from infra import spec
from learner.export import digest, export_graph
from learner.models import IdBlock, Layout, build_model
from learner.step import TrainingStep
from learner.tensorflow_setup import tf

LAYOUTS = {
    "lr": Layout(stride=16, ids=(IdBlock("user", 0, 1), IdBlock("item", 1, 1)), numbers_offset=2, numbers=3),
    "deepfm": Layout(stride=16, ids=(IdBlock("user", 0, 4), IdBlock("item", 4, 4)), numbers_offset=8, numbers=2),
}


@pytest.mark.parametrize("name", ["lr", "deepfm"])
def test_the_graph_predicts_as_the_model_does(name: str) -> None:
    layout = LAYOUTS[name]
    model = build_model(name, layout, 1, spec.Model(), seed=1)
    step = TrainingStep(model, layout.stride, 1, spec.Optimizer())
    x = np.random.default_rng(0).normal(size=(6, layout.stride)).astype(np.float32)
    definition = tf.compat.v1.GraphDef()
    definition.ParseFromString(export_graph(model, layout.stride))
    assert not definition.library.function
    dense = list(step.dense().values())
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(definition, name="")
        feeds = {"input:0": x} | {f"weight_{index}:0": weight for index, weight in enumerate(dense)}
        with tf.compat.v1.Session(graph=graph) as session:
            predictions = session.run("prediction:0", feeds)
    assert predictions.shape == (6, 1)
    np.testing.assert_allclose(predictions, 1 / (1 + np.exp(-model(x).numpy())), rtol=1e-5)


def test_the_digest_is_the_same_however_often_the_model_was_called_and_in_another_process() -> None:
    layout = LAYOUTS["deepfm"]
    model = build_model("deepfm", layout, 1, spec.Model(), seed=1)
    first = digest(export_graph(model, layout.stride))
    model(np.zeros((2, layout.stride), np.float32))
    assert digest(export_graph(model, layout.stride)) == first
    program = (
        "from tests.learner.test_export import LAYOUTS\n"
        "from infra import spec\n"
        "from learner.export import digest, export_graph\n"
        "from learner.models import build_model\n"
        "import sys\n"
        "model = build_model('deepfm', LAYOUTS['deepfm'], 1, spec.Model(), seed=1)\n"
        "sys.stdout.write(digest(export_graph(model, LAYOUTS['deepfm'].stride)))\n"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert other.stdout == first
