"""The same training step with TensorFlow Recommenders-Addons; run by its own Python, knows nothing of this project.

Reads ``keys.npy`` int64 [tables, keys], ``ids.npy`` int64 [batches, tables, rows], ``numbers.npy`` float32 [rows, n]
and ``labels.npy`` float32 [rows, 1] from the folder that is its argument; says ``ready``, then takes a step for every
line on its standard input and answers with the seconds that it took.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_recommenders_addons as tfra  # type: ignore[import-not-found]

DIM, HIDDEN = 16, (256, 128)
dynamic = tfra.dynamic_embedding


def main(folder: Path) -> None:
    """Builds the tables and the network, then steps on demand."""
    keys, batches, numbers, labels = (np.load(folder / f"{name}.npy") for name in ("keys", "ids", "numbers", "labels"))
    tables = []
    for i, of_table in enumerate(keys):
        table = dynamic.get_variable(
            f"t{i}", tf.int64, tf.float32, dim=DIM, devices=["/CPU:0"], init_size=2 * len(of_table)
        )
        for begin in range(0, len(of_table), 100_000):
            part = of_table[begin : begin + 100_000]
            table.upsert(tf.constant(part), tf.random.stateless_normal([len(part), DIM], [i, begin]) * 0.01)
        tables.append(dynamic.shadow_ops.ShadowVariable(table, name=f"shadow{i}"))
    network = []
    for size, to in zip((len(keys) * DIM + numbers.shape[1], *HIDDEN), (*HIDDEN, 1), strict=True):
        network += [
            tf.Variable(tf.random.stateless_normal([size, to], [7, size]) * size**-0.5),
            tf.Variable(tf.zeros(to)),
        ]
    adagrad = tf.keras.optimizers.legacy.Adagrad(0.05, initial_accumulator_value=0.1, epsilon=1e-8)
    optimizer = dynamic.DynamicEmbeddingOptimizer(adagrad)

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def step(ids: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            columns = []
            for i, table in enumerate(tables):
                unique, place = tf.unique(ids[i])
                columns.append(tf.gather(dynamic.shadow_ops.embedding_lookup(table, unique), place))
            hidden = tf.concat([*columns, tf.constant(numbers)], axis=1)
            for i in range(0, len(network), 2):
                hidden = tf.matmul(hidden, network[i]) + network[i + 1]
                hidden = tf.nn.relu(hidden) if i + 2 < len(network) else hidden
            loss = tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.constant(labels), logits=hidden))
        variables = [*tables, *network]
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    for ids in batches[:2]:
        step(tf.constant(ids)).numpy()
    print("ready", flush=True)
    for turn, _ in enumerate(sys.stdin):
        ids = batches[turn % len(batches)]
        began = time.perf_counter()
        step(tf.constant(ids)).numpy()
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
