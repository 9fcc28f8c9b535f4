"""Many seeds on all cores, and what a person needs to repeat the first that fails; knows no protocol."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import traceback
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.checkpointing.simulation.determinism import deterministic
from tests.checkpointing.simulation.healing import shrunk, simulate, violates
from tests.checkpointing.simulation.weather import Weather

CHUNK = 50


def failures(seeds: Iterable[int]) -> list[tuple[int, str]]:
    """The seeds that violate, with their traces."""
    found = []
    for seed in seeds:
        try:
            with deterministic():
                simulate(Weather.of(seed))
        except Exception:  # noqa: BLE001 - whatever it is, the seed is wanted
            found.append((seed, traceback.format_exc(limit=-6)))
    return found


def check(first: int, count: int) -> None:
    """Simulates ``count`` seeds from ``first`` on.

    Raises:
        AssertionError: One violates; says which, and its calmest form.
    """
    chunks = [range(begin, min(begin + CHUNK, first + count)) for begin in range(first, first + count, CHUNK)]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("forkserver")) as pool:
        found = [failure for chunk in pool.map(failures, chunks) for failure in chunk]
    if found:
        seed, trace = found[0]
        with deterministic():
            calmest = shrunk(Weather.of(seed)) if violates(Weather.of(seed)) else Weather.of(seed)
        seeds = ", ".join(str(number) for number, _ in found[:10])
        raise AssertionError(f"{len(found)} of {count} seeds violate ({seeds}); the first:\n{trace}\nshrunk: {calmest}")
