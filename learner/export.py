"""The forward pass as a plain TensorFlow graph, the same bytes for the same model; must not know who serves it."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from checkpointing.dense_operations import ALLOWED
from infra.errors import Invalid
from learner.tensorflow_setup import tf

_INPUT = "input"
_OUTPUT = "prediction"


def export_graph(model: Any, stride: int, serve: Callable[[Any], Any] = tf.sigmoid) -> bytes:
    """Serialises the forward pass for the replicas.

    Placeholders ``input`` ``[None, stride]`` and ``weight_<i>`` in the order of ``model.weights`` (that of the
    version's dense arrays), output ``prediction:0`` ``[None, labels]``: probabilities.

    Nodes are renamed by their place, since Keras numbers its name scopes by how often a process has called a layer,
    and the digest of the graph is its name in the store.

    Args:
        model: A built Keras model ``[B, stride]`` to logits.
        stride: Columns of the input.
        serve: Logits to probabilities (:meth:`learner.losses.Loss.serve`).

    Returns:
        A serialised ``GraphDef``.

    Raises:
        Invalid: The model uses an operation that replicas refuse.
    """
    graph = tf.Graph()
    with graph.as_default():
        inputs = tf.compat.v1.placeholder(tf.float32, [None, stride], name=_INPUT)
        weights = {
            weight.path: tf.compat.v1.placeholder(weight.dtype, weight.shape, name=f"weight_{index}")
            for index, weight in enumerate(model.weights)
        }
        logits, _ = model.stateless_call(
            [weights[weight.path] for weight in model.trainable_variables],
            [weights[weight.path] for weight in model.non_trainable_variables],
            inputs,
            training=False,
        )
        tf.identity(serve(logits), name=_OUTPUT)
    definition = graph.as_graph_def()
    _refuse_foreign(definition)
    _rename(definition, keep={_INPUT, _OUTPUT} | {f"weight_{index}" for index in range(len(weights))})
    return bytes(definition.SerializeToString(deterministic=True))


def digest(graph: bytes) -> str:
    """The sha256 of a serialised graph, hexadecimal: its name in the store."""
    return hashlib.sha256(graph).hexdigest()


def _refuse_foreign(definition: Any) -> None:
    """Better here, before the first sample, than in every replica."""
    functions = {function.signature.name for function in definition.library.function}
    bodies = [definition.node, *(function.node_def for function in definition.library.function)]
    foreign = {node.op for body in bodies for node in body} - ALLOWED - functions
    if foreign:
        raise Invalid(
            f"the model uses the operation{'s' * (len(foreign) > 1)} {', '.join(sorted(foreign))}",
            wanted="arithmetic on tensors only (checkpointing/dense_operations.py): replicas refuse all else",
            cure="write that part with plain tensor operations; docs/models.md",
            where="model.name",
        )


def _rename(definition: Any, keep: set[str]) -> None:
    """Gives every node but those in ``keep`` a name made of its place alone."""
    names = {node.name: node.name if node.name in keep else f"op_{index}" for index, node in enumerate(definition.node)}
    for node in definition.node:
        node.name = names[node.name]
        for index, source in enumerate(node.input):
            control = source.startswith("^")
            name, colon, output = source.removeprefix("^").partition(":")
            node.input[index] = f"{'^' if control else ''}{names[name]}{colon}{output}"
