"""One training step as one concrete TensorFlow function; must not know tables, samples or versions."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from infra import spec
from learner.losses import Targets, build_loss
from learner.models.weights import weight_names
from learner.optimizers import build_optimizer, in_one
from learner.tensorflow_setup import tf

Floats = npt.NDArray[np.float32]

LARGEST_GRADIENT = 1e15
# Begins the names of what the loss learns for itself, among what only a learner restores.
LOSS: Final = "loss/"


@dataclass(frozen=True)
class StepResult:
    """What one step tells.

    Args:
        predictions: ``[B, labels]`` float32, made before the update: they judge the model on samples it has not seen.
            They say how often this stream should show label 1, which is what is served only where the stream is
            neither thinned out nor holds an impression twice (:meth:`learner.losses.Loss.stream_logits`).
        losses: ``[B, labels]`` float32, log loss of these predictions in nats, unweighted; 0 where the label is null.
        gradient: ``[B, stride]`` float32, of the summed loss by the input. A view into TensorFlow's memory: read it
            before the next step.
        exploded: Whether the gradient is too large to be used: it must not reach the rows either.
    """

    predictions: Floats
    losses: Floats
    gradient: Floats
    exploded: bool


class TrainingStep:
    """Predicts, then learns the dense weights, and returns the gradient of the rows.

    Each sample's own gradient reaches rows and dense weights undivided: the loss is a weighted **sum** over the batch,
    so that what a sample teaches does not depend on how many others shared its batch (``docs/decisions``: a sum of
    gradients).

    A batch whose gradient explodes changes no dense weight; :attr:`StepResult.exploded` says so.

    Args:
        model: A Keras model ``[B, stride]`` to logits ``[B, labels]``, built.
        stride: Columns of the input.
        labels: How many labels are predicted.
        optimizer: The dense weights' rule.
        loss: What is minimised; the log loss if None.
        keep_negatives: The rate at which the join keeps negatives.
    """

    def __init__(
        self,
        model: Any,
        stride: int,
        labels: int,
        optimizer: spec.Optimizer,
        loss: spec.Loss | None = None,
        keep_negatives: float = 1.0,
    ) -> None:
        self.model = model
        self.loss = build_loss(loss or spec.Loss(), stride, labels)
        self._log_keep = float(np.log(keep_negatives))
        self._weights = [weight.value for weight in model.weights]
        self._names = weight_names(model)
        trained = {weight.path for weight in model.trainable_variables}
        pairs = zip(self._names, model.weights, strict=True)
        self.trainable_names = frozenset(name for name, weight in pairs if weight.path in trained)
        self._trainable = [weight.value for weight in model.trainable_variables] + list(self.loss.variables.values())
        self.optimizer = build_optimizer(self._trainable, optimizer)
        self._function = tf.function(self._trace, autograph=False).get_concrete_function(
            tf.TensorSpec([None, stride], tf.float32),
            tf.TensorSpec([None, labels], tf.float32),
            tf.TensorSpec([3, None], tf.float32),
        )

    def __call__(
        self,
        inputs: Floats,
        labels: Floats,
        weights: Floats,
        log_rates: Floats | None = None,
        late: npt.NDArray[np.bool_] | None = None,
    ) -> StepResult:
        """Runs one step.

        Args:
            inputs: ``[B, stride]``, C-contiguous and 64-byte aligned: TensorFlow reads this very memory.
            labels: ``[B, labels]``; NaN where the label is null.
            weights: ``[B]``, at least 0.
            log_rates: ``[B]``, ln of the rate at which samples like it were kept; None: all were.
            late: ``[B]``, feedback that came after the verdict of none; None: no sample is.

        Raises:
            ValueError: ``inputs`` is not aligned, which would abort the whole process inside TensorFlow.
        """
        if inputs.ctypes.data % 64 or not inputs.flags.c_contiguous or inputs.dtype != np.float32:
            raise ValueError("the step's input wants float32, contiguous memory, aligned to 64 bytes")
        shared = tf.experimental.dlpack.from_dlpack(inputs.__dlpack__())
        # One tensor instead of three: each costs as much as a small layer.
        traits = np.zeros((3, len(weights)), np.float32)
        traits[0] = weights
        if log_rates is not None:
            traits[1] = log_rates
        if late is not None:
            traits[2] = late
        told = self._function(shared, tf.constant(labels), tf.constant(traits))
        predictions, losses, sane, gradient, dense, before = map(np.asarray, told)
        exploded = not bool(sane)
        if not exploded:
            self.optimizer.apply(before, dense)
        return StepResult(predictions, losses, gradient, exploded)

    def _trace(self, inputs: tf.Tensor, labels: tf.Tensor, traits: tf.Tensor) -> tuple[tf.Tensor, ...]:
        targets = self.targets(labels, traits)
        weights = traits[0][:, None]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            tape.watch(self._trainable)
            logits = self.model(inputs, training=True)
            total = self.loss.total(logits, inputs, targets, weights)
        zero = tf.UnconnectedGradients.ZERO
        gradient, *by_weight = tape.gradient(total, [inputs, *self._trainable], unconnected_gradients=zero)
        dense = in_one(by_weight)
        predictions, losses = self.told(logits, inputs, targets)
        # Beyond the bound a square overflows float32, and Adagrad's sum would stay infinite for ever.
        sane = tf.reduce_all([tf.reduce_all(tf.abs(each) < LARGEST_GRADIENT) for each in (gradient, dense)])
        return predictions, losses, sane, gradient, dense, self.optimizer.weights()

    def targets(self, labels: tf.Tensor, traits: tf.Tensor) -> Targets:
        """What is known of a batch: ``labels`` ``[B, labels]``, NaN where null; ``traits`` ``[3, B]``, of which the
        second is the log of the sampling rate and the third says what is late."""
        known = tf.logical_not(tf.math.is_nan(labels))
        truth = tf.where(known, labels, tf.zeros_like(labels))
        _, log_rate, late = (trait[:, None] for trait in tf.unstack(traits))
        # A positive is kept in any case, and the odds that its stream shows are those of the thinned negatives.
        positive = tf.reduce_any(truth > 0, axis=1, keepdims=True)
        log_rate = tf.where(positive, tf.minimum(log_rate, self._log_keep), log_rate)
        return Targets(truth, known, log_rate, late)

    def told(self, logits: tf.Tensor, inputs: tf.Tensor, targets: Targets) -> tuple[tf.Tensor, tf.Tensor]:
        """Predictions and losses of :class:`StepResult`, from the model's ``logits``."""
        stream = self.loss.stream_logits(logits, inputs) - targets.log_rate
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets.truth, logits=stream)
        return tf.sigmoid(stream), tf.where(targets.known, losses, tf.zeros_like(losses))

    def dense(self) -> dict[str, npt.NDArray[np.generic]]:
        """A copy of every dense weight, by name, in the model's order."""
        return {name: np.array(weight.numpy()) for name, weight in zip(self._names, self._weights, strict=True)}

    def own_state(self) -> dict[str, npt.NDArray[np.generic]]:
        """A copy of what only a learner needs, by name: the optimizer's slots and what the loss learns for itself."""
        loss = {f"{LOSS}{name}": np.array(variable.numpy()) for name, variable in self.loss.variables.items()}
        return self.optimizer.state() | loss

    def load_own(self, state: dict[str, npt.NDArray[np.generic]]) -> None:
        """Takes over what :meth:`own_state` gave.

        Raises:
            ValueError: Names or shapes are those of another model, rule or loss.
        """
        loss = {name.removeprefix(LOSS): value for name, value in state.items() if name.startswith(LOSS)}
        if list(loss) != list(self.loss.variables):
            raise ValueError(f"variables of the loss {list(loss)}; wanted {list(self.loss.variables)}")
        self.optimizer.load({name: value for name, value in state.items() if not name.startswith(LOSS)})
        for name, variable in self.loss.variables.items():
            if tuple(loss[name].shape) != tuple(variable.shape):
                raise ValueError(f"`{name}` of the loss has shape {loss[name].shape}; wanted {tuple(variable.shape)}")
            variable.assign(loss[name])

    def load(self, dense: dict[str, npt.NDArray[np.generic]]) -> None:
        """Takes over what :meth:`dense` gave.

        Raises:
            ValueError: Names or shapes are those of another model.
        """
        if list(dense) != self._names:
            raise ValueError(f"dense weights {list(dense)}; wanted {self._names}")
        for name, weight in zip(self._names, self._weights, strict=True):
            if tuple(dense[name].shape) != tuple(weight.shape):
                raise ValueError(f"dense weight `{name}` has shape {dense[name].shape}; wanted {tuple(weight.shape)}")
            weight.assign(dense[name])
