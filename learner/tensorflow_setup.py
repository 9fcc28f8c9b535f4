"""The one import of TensorFlow in this room, quiet, on the CPU and repeatable; must not know models or samples."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import threading

# TensorFlow reads these once, while it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["KERAS_BACKEND"] = "tensorflow"
# Left alone, oneDNN takes the products over on some processors and not on others, and gives other bits there.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import keras
import tensorflow as tf

from infra.logs import logger

__all__ = ["configure", "environment", "keras", "tf"]

_log = logger()
_configured = threading.Lock()


def configure(threads: int) -> None:
    """Fixes everything that a step's bits may depend on: threads, kernels, generators.

    One inter-op thread, since the step is one chain of operations and their order must not vary. A process in which
    TensorFlow has already run keeps the threads that it has; :func:`environment` tells which those are.

    Args:
        threads: Intra-op threads; another number may give other bits.
    """
    with _configured:
        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        except RuntimeError as error:
            _log.warning("tensorflow_threads_kept", wanted=threads, reason=str(error))
        tf.config.experimental.enable_op_determinism()
        tf.get_logger().setLevel("ERROR")


def environment() -> dict[str, str]:
    """What a bit-identical replay needs beside the samples; a manifest records it."""
    return {
        "tensorflow": str(tf.__version__),
        "keras": str(keras.__version__),
        "tensorflow_threads": str(tf.config.threading.get_intra_op_parallelism_threads()),
        "tensorflow_onednn": os.environ["TF_ENABLE_ONEDNN_OPTS"],
        "op_determinism": "on",
    }
