"""Runs the step of TensorFlow Recommenders-Addons in a Python and a process of its own; knows no table of this project.

Its versions need an older TensorFlow than the learner's: the first use makes an environment below ``.springtide/``.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.kernels_workload import keys_of_tables
from kernels.batch import EncodedBatch

ENVIRONMENT = Path(".springtide/tfra")
READY = "ready"  # what kernels_tfra_step.py says
PACKAGES = ("tensorflow==2.16.2", "tensorflow-recommenders-addons==0.8.1", "tf-keras~=2.16.0", "setuptools<80")


def environment() -> Path:
    """The Python that has the add-ons; makes it on first use."""
    python = ENVIRONMENT / "bin" / "python"
    complete = ENVIRONMENT / "complete"
    if not complete.exists():
        print(f"making {ENVIRONMENT} for step_vs_tfra: 2 GB, some minutes, once", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PACKAGES], check=True)
        complete.touch()
    return python


@contextmanager
def tfra_step(batches: Sequence[EncodedBatch], labels: NDArray[np.float32]) -> Iterator[Callable[[int], object]]:
    """A call that makes the other process take one step and waits for it; batches come round in order.

    Raises:
        subprocess.CalledProcessError: The environment cannot be made.
        RuntimeError: The process ended.
    """
    python = environment()
    with tempfile.TemporaryDirectory() as folder:
        arrays: dict[str, NDArray[Any]] = {
            "keys": np.stack(keys_of_tables()),
            "ids": np.stack([np.stack(batch.ids) for batch in batches]),
            "numbers": batches[0].numbers,
            "labels": labels,
        }
        for name, array in arrays.items():
            np.save(Path(folder) / f"{name}.npy", array)
        child = subprocess.Popen(
            [str(python), str(Path(__file__).with_name("kernels_tfra_step.py")), folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env={**os.environ, "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        assert child.stdin is not None and child.stdout is not None
        send, receive = child.stdin, child.stdout

        def answer() -> str:
            line = receive.readline()
            if not line:
                raise RuntimeError(f"the add-ons' process ended with {child.wait()}; its last words stand above")
            return line

        def step(_: int) -> None:
            send.write("step\n")
            answer()

        try:
            # The add-ons print a line of their own at their import: taken for an answer, it would let every step
            # of theirs run beside the next one of ours.
            while answer().strip() != READY:
                pass
            yield step
        finally:
            child.kill()
            child.wait()
