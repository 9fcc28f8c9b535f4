"""Dense layers on the matrix unit against the same in float64, within what sums of bfloat16 products may lose."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.dense_layers import DenseLayer, DenseLayers

pytestmark = pytest.mark.skipif(not DenseLayers.available(), reason="this processor has no matrix unit (AMX, bfloat16)")

Array = npt.NDArray[Any]
# Of a product's size, by the parts of each number, with what float32 sums of some hundred terms add.
LOST = {2: 2.0**-15, 3: 2.0**-21}
PARTS = sorted(LOST)
WIDTHS = st.sampled_from([1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 100, 129])
COUNTS = st.sampled_from([1, 2, 4, 15, 16, 17, 31, 32, 33, 48, 49, 100])


def layer(
    random: np.random.Generator, inputs: int, outputs: int, *, bias: bool = True, relu: bool = True
) -> DenseLayer:
    weights = random.normal(0, inputs**-0.5, (inputs, outputs)).astype(np.float32)
    return DenseLayer(weights, random.normal(size=outputs).astype(np.float32) if bias else None, relu)


def plain(
    layers: list[DenseLayer],
    rows: Array,
    shared: tuple[Array, Array] | None = None,
    *,
    sigmoid: bool = False,
    parts: int = 3,
) -> tuple[Array, Array]:
    """What the layers make in float64, and by how much numbers in parts may miss it."""
    found, missed = rows.astype(np.float64), np.zeros(rows.shape)
    for at, one in enumerate(layers):
        weights = one.weights.astype(np.float64)
        size = np.abs(found) @ np.abs(weights)
        missed = missed @ np.abs(weights) + LOST[parts] * size
        found = found @ weights
        if at == 0 and shared is not None:
            found = found + shared[0] @ shared[1].astype(np.float64)
            missed = missed + LOST[3] * (np.abs(shared[0]) @ np.abs(shared[1]))
        if one.bias is not None:
            found = found + one.bias
        if one.relu:
            found = np.maximum(found, 0)
    return (1 / (1 + np.exp(-found)), missed) if sigmoid else (found, missed)


@given(
    st.lists(WIDTHS, min_size=2, max_size=5),
    COUNTS,
    st.sampled_from([0, 1, 5, 40]),
    st.booleans(),
    st.sampled_from(PARTS),
    st.data(),
)
def test_it_computes_what_float64_does(
    widths: list[int], count: int, common: int, sigmoid: bool, parts: int, data: st.DataObject
) -> None:
    random = np.random.default_rng(data.draw(st.integers(0, 1 << 32)))
    layers = [
        layer(random, inputs, outputs, bias=data.draw(st.booleans()), relu=data.draw(st.booleans()))
        for inputs, outputs in itertools.pairwise(widths)
    ]
    rows = random.normal(size=(count, widths[0])).astype(np.float32)
    met = random.normal(size=(common, widths[1])).astype(np.float32)
    numbers = random.normal(size=common).astype(np.float32)
    chain = DenseLayers(layers, met if common else None, sigmoid=sigmoid, parts=parts)
    found = chain.run(rows, numbers if common else None)
    wanted, missed = plain(layers, rows, (numbers, met) if common else None, sigmoid=sigmoid, parts=parts)
    assert found.shape == (count, widths[-1]) and found.dtype == np.float32
    assert (np.abs(found - wanted) <= missed + 1e-6 * (1 + np.abs(wanted))).all()


@pytest.mark.parametrize(("parts", "most"), [(2, 5e-5), (3, 3e-6)])
def test_it_loses_far_less_than_bfloat16(parts: int, most: float) -> None:
    """The other parts count: with the first ones alone a product of such a size is wrong by some 0.01."""
    random = np.random.default_rng(3)
    layers = [layer(random, 208, 256, bias=False, relu=False)]
    rows = random.normal(size=(100, 208)).astype(np.float32)
    wanted, _ = plain(layers, rows)
    assert np.abs(DenseLayers(layers, parts=parts).run(rows) - wanted).max() < most


def test_no_rows_are_no_rows() -> None:
    random = np.random.default_rng(1)
    assert DenseLayers([layer(random, 8, 40)]).run(np.empty((0, 8), np.float32)).shape == (0, 40)


@pytest.mark.parametrize("outputs", [1, 40])
@pytest.mark.parametrize("relu", [True, False])
def test_what_is_no_number_stays_so_and_in_its_row(outputs: int, relu: bool) -> None:
    """Cutting off at zero must not hide it: a prediction that is no number is refused, not answered."""
    random = np.random.default_rng(2)
    layers = [layer(random, 33, 64), layer(random, 64, outputs, relu=relu)]
    rows = random.normal(size=(37, 33)).astype(np.float32)
    clean = DenseLayers(layers).run(rows)
    rows[20, 3] = np.nan
    found = DenseLayers(layers).run(rows)
    assert np.isnan(found[20]).all()
    others = np.arange(37) != 20
    np.testing.assert_array_equal(found[others], clean[others])


@pytest.mark.parametrize("parts", PARTS)
def test_rows_do_not_depend_on_their_neighbours(parts: int) -> None:
    random = np.random.default_rng(4)
    chain = DenseLayers([layer(random, 50, 70), layer(random, 70, 3, relu=False)], parts=parts)
    rows = random.normal(size=(77, 50)).astype(np.float32)
    whole = chain.run(rows)
    for at in (0, 15, 16, 31, 32, 76):
        np.testing.assert_array_equal(chain.run(rows[at : at + 1]), whole[at : at + 1])


def test_many_threads_may_ask_at_once() -> None:
    random = np.random.default_rng(5)
    chains = [DenseLayers([layer(random, width, 90), layer(random, 90, 1)]) for width in (20, 60, 300)]
    asked = [random.normal(size=(50, chain.inputs)).astype(np.float32) for chain in chains]
    wanted = [chain.run(rows) for chain, rows in zip(chains, asked, strict=True)]

    def ask(worker: int) -> None:
        for turn in range(200):
            at = (worker + turn) % 3
            np.testing.assert_array_equal(chains[at].run(asked[at]), wanted[at])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(4)))


def test_what_does_not_fit_is_refused() -> None:
    random = np.random.default_rng(6)
    first, second = layer(random, 8, 16), layer(random, 16, 4)
    with pytest.raises(ValueError, match="at least one layer"):
        DenseLayers([])
    with pytest.raises(ValueError, match="in 2 or 3 parts; got 4"):
        DenseLayers([first], parts=4)
    with pytest.raises(ValueError, match="layer 1 takes 8 numbers; the one before it gives 16"):
        DenseLayers([first, first])
    with pytest.raises(ValueError, match="a bias of 16 numbers for a layer of 4"):
        DenseLayers([DenseLayer(second.weights, first.bias, True)])
    with pytest.raises(ValueError, match="shared weights for 4 numbers; the first layer gives 16"):
        DenseLayers([first, second], second.weights)
    chain = DenseLayers([first, second], first.weights)
    rows, shared = np.zeros((3, 8), np.float32), np.zeros(8, np.float32)
    assert chain.run(rows, shared).shape == (3, 4)
    for wrong in ((rows[:, :7], shared), (rows, shared[:7]), (rows, None)):
        with pytest.raises(ValueError, match="wanted rows of 8 numbers, 8 shared ones and room for 4 a row"):
            chain.run(*wrong)
