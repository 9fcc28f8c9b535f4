"""A model of the user's own: what breaks the contract is refused before the first sample, with place and cure."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from infra import spec
from infra.errors import Invalid
from learner.export import export_graph
from learner.models import IdBlock, Layout, build_model
from learner.tensorflow_setup import keras, tf

LAYOUT = Layout(stride=16, ids=(IdBlock("user", 0, 4), IdBlock("item", 4, 4)), numbers_offset=8, numbers=2)


def build(name: str, labels: int = 1, **settings: Any) -> Any:
    return build_model(name, LAYOUT, labels, spec.Model(name=name, settings=settings), seed=1)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the user's, called ``shop_models``."""
    made = ModuleType("shop_models")
    monkeypatch.setitem(sys.modules, "shop_models", made)
    return made


def dense(units: int, activation: str | None = None, **options: Any) -> Any:
    """A layer whose first weights are the same each time."""
    draw = keras.initializers.GlorotUniform(seed=1)
    return keras.layers.Dense(units, activation, kernel_initializer=draw, **options)


def functional(*layers: Any, labels: int = 1) -> Any:
    """A functional Keras model of these layers and an output."""
    entry = inner = keras.Input((LAYOUT.stride,))
    for layer in layers:
        inner = layer(inner)
    return keras.Model(entry, dense(labels, name="last")(inner))


def test_a_functional_model_is_taken_with_its_settings(module: ModuleType) -> None:
    module.build = lambda layout, labels, seed, *, width: functional(  # type: ignore[attr-defined]
        dense(width, "relu", name="first"), keras.layers.LayerNormalization(name="norm"), labels=labels
    )
    model = build("shop_models:build", labels=2, width=3)
    assert model.layers[1].units == 3
    assert export_graph(model, LAYOUT.stride)


def two_outputs() -> tuple[Any, Any]:
    entry = keras.Input((LAYOUT.stride,))
    return entry, [dense(1, name="click")(entry), dense(1, name="buy")(entry)]


BROKEN: dict[str, tuple[Any, str]] = {
    "raises": (lambda *_: dict[str, int]()["no"], r"KeyError while it was built: 'no' \(.*test_own_model.py:\d+\)"),
    "no model": (lambda *_: 7, "it returned a int; wanted a keras.Model"),
    "settings": (lambda layout, labels, seed, width: None, "TypeError while it was built.*'width'"),
    "width": (lambda *_: functional(labels=3), r"made float32 \[4, 3\] of 4 rows; wanted .*\[batch, 1\]"),
    "outputs": (lambda *_: keras.Model(*two_outputs()), "the model has 2 outputs.*concatenate"),
    "input": (
        lambda *_: keras.Model(entry := keras.Input((9,)), keras.layers.Dense(1)(entry)),
        r"when it was called with float32 \[4, 16\]",
    ),
    "dropout": (lambda *_: functional(keras.layers.Dropout(0.5)), "state that is no weight.*leave out dropout"),
    "batch statistics": (
        lambda *_: functional(keras.layers.BatchNormalization()),
        "changes while the model predicts.*LayerNormalization",
    ),
    "names": (
        lambda *_: functional(dense(16, name="a"), Twin(name="b")),
        "share the name `b/same`.*of its own",
    ),
    "no names": (
        lambda *_: keras.Model(entry := keras.Input((16,)), dense(1)(entry)),
        "a second time, it has a weight .*numbers those without",
    ),
    "no seed": (
        lambda *_: functional(keras.layers.Dense(16, name="free")),
        "a second time, its weight `free/kernel` begins with other values.*seed",
    ),
    "coupled": (lambda *_: functional(Coupled()), "depends on the other samples"),
    "precision": (lambda *_: functional(dense(16, name="wide", dtype="float64")), "`wide/kernel` is not float32"),
    "not finite": (lambda *_: functional(keras.layers.Rescaling(1e38), keras.layers.Rescaling(1e38)), "not finite"),
}


class Coupled(keras.layers.Layer):  # type: ignore[misc]
    """Subtracts the batch's mean."""

    def call(self, inputs: Any) -> Any:
        return inputs - tf.reduce_mean(inputs, axis=0, keepdims=True)


class Twin(keras.layers.Layer):  # type: ignore[misc]
    """Two weights of one name."""

    def build(self, input_shape: Any) -> None:
        self.one = self.add_weight(name="same", shape=())
        self.two = self.add_weight(name="same", shape=())

    def call(self, inputs: Any) -> Any:
        return inputs * self.one * self.two


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("broken", list(BROKEN))
def test_what_breaks_the_contract_is_named(module: ModuleType, broken: str) -> None:
    module.build, message = BROKEN[broken]  # type: ignore[attr-defined]
    with pytest.raises(Invalid, match=message) as caught:
        build("shop_models:build")
    assert caught.value.where == "model.name `shop_models:build`"


def test_a_module_or_function_that_is_not_there_is_named_with_the_cure(module: ModuleType, tmp_path: Path) -> None:
    module.biuld = functional  # type: ignore[attr-defined]
    with pytest.raises(Invalid, match=r"no module `nowhere`.*beside the pipeline.yaml"):
        build("nowhere.models:build")
    with pytest.raises(Invalid, match=r"has no `build`; wanted .*nearest is `biuld`"):
        build("shop_models:build")
    module.build = 5  # type: ignore[attr-defined]
    with pytest.raises(Invalid, match="`build` is a int; wanted a function"):
        build("shop_models:build")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import not_installed_anywhere", "no module `not_installed_anywhere`, which `shop_file` imports"),
        ("def build(:", r"SyntaxError while `shop_file` was imported"),
        ("1 / 0", r"ZeroDivisionError while `shop_file` was imported.*shop_file.py:1"),
    ],
)
def test_a_file_that_cannot_be_imported_is_named_with_its_line(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop_file.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "shop_file", raising=False)
    with pytest.raises(Invalid, match=message):
        build("shop_file:build")


def test_an_operation_that_replicas_refuse_is_refused_by_the_learner(module: ModuleType) -> None:
    class Noisy(keras.layers.Layer):  # type: ignore[misc]
        """Draws numbers in the graph, too small to be seen."""

        def call(self, inputs: Any) -> Any:
            return inputs + 1e-9 * tf.random.uniform(tf.shape(inputs), seed=1)

    module.build = lambda *_: functional(Noisy())  # type: ignore[attr-defined]
    model = build("shop_models:build")
    with pytest.raises(Invalid, match="operation RandomUniform"):
        export_graph(model, LAYOUT.stride)
