"""The rows by key against ``std::unordered_map`` over random histories; seeds that once failed stay in the list."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SEEDS = range(1, 25)
STEPS = 1500


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    build = tmp_path_factory.mktemp("fuzz")
    bin_path = Path(sys.executable).parent
    cmake = str(bin_path / "cmake")
    configure = ["-S", str(ROOT), "-B", str(build), "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={bin_path / 'ninja'}"]
    subprocess.run(
        [cmake, *configure, "-DCMAKE_BUILD_TYPE=RelWithDebInfo", f"-DPython_EXECUTABLE={sys.executable}"], check=True
    )
    subprocess.run([cmake, "--build", str(build), "--target", "fuzz_keyed_rows"], check=True)
    return build / "fuzz_keyed_rows"


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_random_histories_equal_an_unordered_map(fuzzer: Path) -> None:
    for seed in SEEDS:
        run = subprocess.run([str(fuzzer), str(seed), str(STEPS)], capture_output=True, text=True, check=False)
        assert run.returncode == 0, f"seed {seed}, {STEPS} steps: {run.stderr}"
