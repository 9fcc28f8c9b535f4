"""What a pipeline may say about its model, and what a model wants of the tables; knows no TensorFlow."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from infra.spec_part import Part, refuse

if TYPE_CHECKING:
    from infra.spec import Join, Model, Table
    from infra.spec_part import Place

# Which settings each built-in model reads beside `hidden`; any other must keep its default.
MODEL_SETTINGS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "lr": (),
        "wdl": (),
        "deepfm": (),
        "dcnv2": ("cross_layers", "cross_rank"),
        "din": ("candidate", "history", "attention"),
        "dlrm": ("bottom",),
        "mmoe": ("experts", "tower"),
    }
)
# A model of the user's own is named by where its function is found.
_OWN: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_own(name: str) -> bool:
    """Whether ``name`` means a function of the user's, ``module:function``."""
    return ":" in name


def _model_name(name: str) -> str:
    if name in MODEL_SETTINGS or _OWN.fullmatch(name):
        return name
    if is_own(name):
        raise ValueError(f"got `{name}`, wanted `module:function`, such as `shop.models:build`")
    near = difflib.get_close_matches(name, MODEL_SETTINGS, n=1)
    known = f"nearest is `{near[0]}`" if near else f"known: {', '.join(f'`{each}`' for each in MODEL_SETTINGS)}"
    raise ValueError(f"got `{name}`; {known}, or `module:function` for a model of your own")


ModelName = Annotated[str, AfterValidator(_model_name)]
Widths = tuple[Annotated[int, Field(ge=1, le=65536)], ...]


class Loss(Part):
    """What a sample teaches (docs/models.md). The delayed-feedback losses want a stream of their own kind."""

    kind: Literal["log_loss", "weighted", "fnw", "fnc", "es_dfm"] = "log_loss"
    positive_weight: float = Field(default=1.0, gt=0, le=1e6)
    down_sampling: Literal["weight", "log_odds"] = "weight"

    @model_validator(mode="after")
    def _uses_what_is_set(self) -> Self:
        if self.kind != "weighted" and self.positive_weight != 1:
            refuse([(("positive_weight",), f"unused while `kind` is {self.kind}; set weighted, or leave it out")])
        return self


def loss_findings(loss: Loss, join: Join) -> Iterator[tuple[Place, str]]:
    """A loss that expects another stream than the join makes; places are those of the whole pipeline."""
    immediate = join.labels == "immediate"
    if loss.kind in {"fnw", "fnc"} and not immediate:
        text = f"{loss.kind} expects every impression as a negative at once; wanted `join.labels: immediate`"
        yield ("model", "loss", "kind"), text
    if loss.kind == "es_dfm" and immediate:
        text = "es_dfm expects a window before each verdict; wanted `join.labels: after_window` or `aligned`"
        yield ("model", "loss", "kind"), text


def unused_settings(model: Model) -> Iterator[tuple[Place, str]]:
    """Settings that the chosen model does not read; places are relative to ``model``."""
    read = ("settings",) if is_own(model.name) else MODEL_SETTINGS[model.name]
    every = dict.fromkeys(each for names in (*MODEL_SETTINGS.values(), ("settings",)) for each in names)
    for setting in every:
        if setting not in read and getattr(model, setting) != type(model).model_fields[setting].default:
            yield (setting,), f"unused while `name` is {model.name}; leave it out"


def table_findings(name: str, labels: int, tables: Mapping[int, Table]) -> Iterator[tuple[Place, str]]:
    """Tables whose dim the model cannot use; places are those of the whole pipeline.

    Args:
        name: The model's name.
        labels: How many labels are predicted.
        tables: The valid tables by their place in the list.
    """
    first: int | None = None
    for index, table in tables.items():
        place: tuple[Any, ...] = ("tables", index, "dim")
        if name == "lr" and table.dim != labels:
            yield place, f"got {table.dim}; model `lr` wants {labels}, a weight per id" + " and label" * (labels > 1)
        elif name == "deepfm" and table.dim < 2:
            yield place, f"got {table.dim}; model `deepfm` wants at least 2"
        elif name == "wdl" and table.dim <= labels:
            yield place, f"got {table.dim}; model `wdl` wants at least {labels + 1}"
        elif name in {"deepfm", "dlrm"} and first is not None and table.dim != first:
            yield place, f"got {table.dim}; model `{name}` wants the same in all tables, and the first has {first}"
        first = table.dim if first is None else first
