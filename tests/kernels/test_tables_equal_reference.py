"""Whatever happens to tables of whatever settings, in whatever order, they equal the plain reference bit for bit."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.conformance import run


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_sequence_of_operations_equals_the_reference(data: st.DataObject) -> None:
    run(data)


@pytest.mark.long
@pytest.mark.timeout(1800)
@settings(max_examples=2000, deadline=None)
@given(st.data())
def test_many_sequences_of_operations_equal_the_reference(data: st.DataObject) -> None:
    run(data)
