"""Loads TensorFlow quietly and sets its threads; the only place of this room that says how it is started."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os

from infra.errors import Invalid

# TensorFlow writes its start-up notes straight to stderr unless these stand before the import.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
# A replica on a machine with an accelerator must not take its memory from the learner.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import tensorflow as tf

__all__ = ["THREADS", "set_threads", "tf"]

THREADS = 1


def set_threads(threads: int = THREADS) -> None:
    """Sets how many threads TensorFlow computes with; only before its first operation.

    Raises:
        Invalid: TensorFlow already runs with another number.
    """
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError as error:
        raise Invalid(f"TensorFlow already runs: {error}", wanted=f"{threads} threads from the start") from error
