"""The losses by name: what a sample teaches, what the stream should show, what is served; must not know the model."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass

from infra import spec
from learner.tensorflow_setup import tf

# The heads of ES-DFM begin near "no feedback is late", where the loss is the plain one.
_FEW_LATE = -3.0


@dataclass(frozen=True)
class Targets:
    """What is known of a batch's samples, all float32 but ``known``.

    Args:
        truth: ``[B, labels]``, 0 or 1; 0 where unknown.
        known: ``[B, labels]`` bool, False where the label is null.
        log_rate: ``[B, 1]``, ln of the share of negatives that the stream keeps; 0 where all are kept.
        late: ``[B, 1]``, 1 for feedback that came after its verdict of none, else 0.
    """

    truth: tf.Tensor
    known: tf.Tensor
    log_rate: tf.Tensor
    late: tf.Tensor


class Loss:
    """``Σ w [a y (-ln p) + b (1 - y) (-ln(1 - p))]`` over the known labels.

    This one is the log loss, a = b = 1; the other kinds differ in a, b, and in what p is.

    Negatives that were down-sampled at a rate r are made up for in one of two ways, never both: their loss counts 1/r
    times (``weight``), or the loss is taken at ``z - ln r``, the log-odds of the thinned stream (``log_odds``). Either
    way z stays the logit of the full stream, so that nothing is left to correct when serving. With ``log_odds``, r of
    a positive is the pipeline's ``join.keep_negatives``, since it carries no rate of its own.

    Args:
        settings: The spec's.
        stride: Columns of the model's input.
        labels: How many labels.

    Attributes:
        variables: What the loss learns for itself, by name; never served.
    """

    def __init__(self, settings: spec.Loss, stride: int, labels: int) -> None:
        self._settings = settings
        self.variables: dict[str, tf.Variable] = {}

    def factors(self, logits: tf.Tensor, inputs: tf.Tensor) -> tuple[tf.Tensor | float, tf.Tensor | float]:
        """``(a, b)``, constants for the gradient; each a number or ``[B, labels]``."""
        return 1.0, 1.0

    def stream_logits(self, logits: tf.Tensor, inputs: tf.Tensor) -> tf.Tensor:
        """Log-odds of label 1 in the stream of samples before any were thinned out, ``[B, labels]``."""
        return logits

    def serve(self, logits: tf.Tensor) -> tf.Tensor:
        """The probability that replicas answer with, ``[B, labels]``."""
        return tf.sigmoid(logits)

    def own(self, inputs: tf.Tensor, targets: Targets, weights: tf.Tensor) -> tf.Tensor | float:
        """What the loss's own variables minimise, a scalar."""
        return 0.0

    def total(self, logits: tf.Tensor, inputs: tf.Tensor, targets: Targets, weights: tf.Tensor) -> tf.Tensor:
        """The scalar to minimise.

        Args:
            logits: ``[B, labels]``.
            inputs: ``[B, stride]``, the model's.
            targets: What is known.
            weights: ``[B, 1]``.
        """
        positive, negative = self.factors(logits, inputs)
        if self._settings.down_sampling == "log_odds":
            logits -= targets.log_rate
        else:
            negative *= tf.exp(-targets.log_rate)
        each = targets.truth * positive * tf.nn.softplus(-logits)
        each += (1.0 - targets.truth) * negative * tf.nn.softplus(logits)
        return tf.reduce_sum(weights * tf.where(targets.known, each, tf.zeros_like(each))) + self.own(
            inputs, targets, weights
        )


class WeightedLogLoss(Loss):
    """a = ``positive_weight`` = π, b = 1, taken at ``z + ln π``: positives teach more, and z stays calibrated.

    The weights alone would move the optimum to π times the odds; the shift takes that out again.
    """

    def total(self, logits: tf.Tensor, inputs: tf.Tensor, targets: Targets, weights: tf.Tensor) -> tf.Tensor:
        return super().total(logits + tf.math.log(self._settings.positive_weight), inputs, targets, weights)

    def factors(self, logits: tf.Tensor, inputs: tf.Tensor) -> tuple[tf.Tensor | float, tf.Tensor | float]:
        return self._settings.positive_weight, 1.0


class FakeNegativeWeighted(Loss):
    """a = 1 + p, b = (1 - p)(1 + p); Ktena et al., "Addressing Delayed Feedback for Continuous Training", RecSys 2019.

    For a stream in which every impression is a negative at once, and a positive again when feedback comes: the share
    of positives is ``p / (1 + p)``, and the weights undo that.
    """

    def factors(self, logits: tf.Tensor, inputs: tf.Tensor) -> tuple[tf.Tensor | float, tf.Tensor | float]:
        p = tf.stop_gradient(tf.sigmoid(logits))
        return 1.0 + p, (1.0 - p) * (1.0 + p)

    def stream_logits(self, logits: tf.Tensor, inputs: tf.Tensor) -> tf.Tensor:
        return tf.math.log_sigmoid(logits)


class FakeNegativeCalibration(Loss):
    """a = b = 1 gives ``b = sigmoid(z)``, the stream's share of positives; served is ``b / (1 - b) = e^z``, at most 1.

    Ktena et al., RecSys 2019; for the same stream as :class:`FakeNegativeWeighted`.
    """

    def serve(self, logits: tf.Tensor) -> tf.Tensor:
        return tf.exp(tf.minimum(logits, 0.0))


class ElapsedTimeSampling(Loss):
    """a = 1 + p_dp, b = (1 + p_dp) p_rn; Yang et al., "Capturing Delayed Feedback ... ES-DFM", AAAI 2021.

    For a stream that waits for a window and emits late feedback once more. p_dp is the chance that a sample's feedback
    is late, p_rn that a negative stays one. Two linear heads on the model's input learn them from the stream itself,
    by the log-odds of a late sample: among all samples ``p_dp = e^{h_dp}`` (late ones over verdicts), among negatives
    and late ones ``p_rn = 1 - e^{h_rn}``. No gradient of the heads reaches rows or model, none of a or b the heads.
    """

    def __init__(self, settings: spec.Loss, stride: int, labels: int) -> None:
        super().__init__(settings, stride, labels)
        for head in ("late", "turned"):
            self.variables[f"{head}_kernel"] = tf.Variable(tf.zeros([stride, labels]))
            self.variables[f"{head}_bias"] = tf.Variable(tf.fill([labels], _FEW_LATE))

    def _head(self, name: str, inputs: tf.Tensor) -> tf.Tensor:
        kernel, bias = self.variables[f"{name}_kernel"], self.variables[f"{name}_bias"]
        return tf.matmul(tf.stop_gradient(inputs), kernel) + bias

    def chances(self, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """``(p_dp, p_rn)``, each ``[B, labels]``."""
        late = tf.exp(tf.minimum(self._head("late", inputs), 0.0))
        return late, 1.0 - tf.exp(tf.minimum(self._head("turned", inputs), 0.0))

    def factors(self, logits: tf.Tensor, inputs: tf.Tensor) -> tuple[tf.Tensor | float, tf.Tensor | float]:
        late, stays = (tf.stop_gradient(chance) for chance in self.chances(inputs))
        return 1.0 + late, (1.0 + late) * stays

    def stream_logits(self, logits: tf.Tensor, inputs: tf.Tensor) -> tf.Tensor:
        late, _ = self.chances(inputs)
        # p positives among 1 + p_dp samples; a late one is positive, too.
        others = tf.maximum(tf.sigmoid(-logits) + late, 1e-7)
        return tf.math.log_sigmoid(logits) - tf.math.log(others)

    def own(self, inputs: tf.Tensor, targets: Targets, weights: tf.Tensor) -> tf.Tensor | float:
        late = targets.late * tf.ones_like(targets.truth)
        # A negative stands for as many as were thinned out around it.
        counts = weights * tf.where(targets.truth > 0, tf.ones_like(late), tf.exp(-targets.log_rate))
        among = {"late": targets.known, "turned": targets.known & ((targets.truth == 0) | (late > 0))}
        total = 0.0
        for name, counted in among.items():
            each = tf.nn.sigmoid_cross_entropy_with_logits(labels=late, logits=self._head(name, inputs))
            total += tf.reduce_sum(tf.where(counted, counts * each, tf.zeros_like(each)))
        return total


_KINDS: dict[str, type[Loss]] = {
    "log_loss": Loss,
    "weighted": WeightedLogLoss,
    "fnw": FakeNegativeWeighted,
    "fnc": FakeNegativeCalibration,
    "es_dfm": ElapsedTimeSampling,
}


def build_loss(settings: spec.Loss, stride: int, labels: int) -> Loss:
    """The loss that ``settings.kind`` names, in its first state."""
    return _KINDS[settings.kind](settings, stride, labels)
