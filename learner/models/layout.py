"""Where each feature stands in a model's input; must not know how the rows got there."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from infra.errors import Invalid
from learner.tensorflow_setup import tf


@dataclass(frozen=True)
class IdBlock:
    """The pooled row of one id feature: columns ``offset`` to ``offset + width`` of the input.

    With a ``length`` it is a sequence, of the combiner ``none``: ``length`` rows side by side, zeros behind the last
    one, then one column that says how many there are.
    """

    name: str
    offset: int
    width: int
    length: int = 0

    @property
    def dim(self) -> int:
        """The width of one row."""
        return (self.width - 1) // self.length if self.length else self.width


@dataclass(frozen=True)
class Layout:
    """The columns of the input, ``[batch, stride]`` float32: id blocks, then numbers, then zeros.

    Args:
        stride: Columns in all.
        ids: The id blocks, gapless from column 0, in feature order.
        numbers_offset: The first number's column.
        numbers: How many numbers.
    """

    stride: int
    ids: tuple[IdBlock, ...]
    numbers_offset: int
    numbers: int

    def __post_init__(self) -> None:
        end = 0
        for block in self.ids:
            if block.offset != end:
                raise ValueError(f"id block `{block.name}` begins at column {block.offset}; wanted {end}")
            end += block.width
        if self.numbers_offset < end or self.numbers_offset + self.numbers > self.stride:
            raise ValueError(
                f"{self.numbers} numbers at column {self.numbers_offset} do not fit between {end} and {self.stride}"
            )

    def row_of(self, inputs: Any, feature: str) -> Any:
        """The pooled row ``[batch, width]`` of one id feature; ``inputs`` is the model's input, any tensor or array.

        Raises:
            KeyError: There is no id feature of that name.
        """
        for block in self.ids:
            if block.name == feature:
                return inputs[:, block.offset : block.offset + block.width]
        raise KeyError(f"no id feature `{feature}`; there are {', '.join(block.name for block in self.ids) or 'none'}")

    def sequence_of(self, inputs: Any, feature: str) -> Any:
        """The rows ``[batch, length, dim]`` of a sequence, zeros behind the last one; ``inputs`` is a tensor.

        Raises:
            KeyError: There is no sequence of that name.
        """
        block = self._sequence(feature)
        rows = inputs[:, block.offset : block.offset + block.length * block.dim]
        return tf.reshape(rows, [-1, block.length, block.dim])

    def length_of(self, inputs: Any, feature: str) -> Any:
        """How many rows of a sequence are there, ``[batch, 1]``.

        Raises:
            KeyError: There is no sequence of that name.
        """
        end = self._sequence(feature).offset + self._sequence(feature).width
        return inputs[:, end - 1 : end]

    def _sequence(self, feature: str) -> IdBlock:
        sequences = {block.name: block for block in self.ids if block.length}
        if feature not in sequences:
            raise KeyError(f"no sequence `{feature}`; there are {', '.join(sequences) or 'none'}")
        return sequences[feature]

    def numbers_of(self, inputs: Any) -> Any:
        """The scaled numbers ``[batch, numbers]`` in feature order, 0 where one is missing."""
        return inputs[:, self.numbers_offset : self.numbers_offset + self.numbers]

    def refuse_sequences(self, model: str) -> None:
        """For models that read one row per feature.

        Raises:
            Invalid: A feature has the combiner ``none``.
        """
        for block in self.ids:
            if block.length:
                raise Invalid(
                    f"model `{model}`: feature `{block.name}` is a sequence of {block.length} ids",
                    wanted="one row per feature",
                    cure="set its `combiner` to mean, sum or sqrtn, or choose model `din`, `dcnv2` or `mmoe`",
                )

    def common_width(self, model: str) -> int:
        """The width that all id features share; 0 where there are none.

        Raises:
            Invalid: The tables have different dims, or a feature is a sequence, which ``model`` cannot combine.
        """
        self.refuse_sequences(model)
        widths = {block.width for block in self.ids}
        if len(widths) > 1:
            named = ", ".join(f"{block.name}={block.width}" for block in self.ids)
            raise Invalid(
                f"model `{model}`: the tables of its id features have different dims ({named})",
                wanted="one dim for all of them",
                cure="set the same `dim` in each of these `tables`",
            )
        return widths.pop() if widths else 0
