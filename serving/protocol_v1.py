"""Reads and writes TensorFlow Serving's REST predict API; knows no tables, no versions and no server.

The protocol: https://www.tensorflow.org/tfx/serving/api_rest. Row format `instances` is a list of objects, one per
candidate; column format `inputs` is an object of arrays. A model with one input takes bare values as well. With one
label the answer is a plain list of numbers, as TensorFlow Serving answers for a single output tensor of shape [B];
with several, an object per row (row format) or per label an array (column format). Unlike a tensor, a list column
may have rows of different lengths, and `null` stands for an unknown value. Beyond TensorFlow Serving, `shared` is an
object of values that hold for every candidate; the candidates then leave those inputs out.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from serving.body import read_object
from serving.prediction import Column as Values
from serving.prediction import Prediction, Question
from serving.refusals import Refused, nearest, shown
from serving.signature import INTEGERS, Column, Signature, column_of

SIGNATURE_NAME = "serving_default"
METHOD_NAME = "tensorflow/serving/predict"
FIELDS = ("signature_name", "instances", "inputs", "shared")
DATATYPES = {"string": "DT_STRING", "integer": "DT_INT64", "number": "DT_DOUBLE", "boolean": "DT_BOOL"}


@dataclass(frozen=True)
class Predict:
    """A request of this protocol; ``by_row`` tells `instances` from `inputs`."""

    question: Question
    by_row: bool


def read_predict(body: bytes, signature: Signature) -> Predict:
    """Parses the body of POST /v1/models/{m}:predict.

    Raises:
        Refused: The body is not what the protocol or the signature wants.
    """
    request = read_object(body)
    unknown = next((field for field in request if field not in FIELDS), None)
    if unknown is not None:
        raise Refused(f"unknown field {shown(unknown)}{nearest(unknown, FIELDS)}", wanted=", ".join(FIELDS))
    name = request.get("signature_name", SIGNATURE_NAME)
    if name not in (SIGNATURE_NAME, ""):
        raise Refused(f"unknown signature_name {shown(name)}", wanted=SIGNATURE_NAME)
    if ("instances" in request) == ("inputs" in request):
        raise Refused("the request wants exactly one of `instances` and `inputs`")
    by_row = "instances" in request
    shared = _shared(request, signature)
    values = _from_instances(request, signature, shared) if by_row else _from_inputs(request, signature, shared)
    values |= {name: [value] for name, value in shared.items()}
    columns = {name: _column(signature.column(name), cells) for name, cells in values.items()}
    once = frozenset(shared)
    return Predict(Question(columns, signature.check(columns, once), once), by_row)


def write_predict(predict: Predict, prediction: Prediction, signature: Signature) -> bytes:
    """The body of the answer."""
    labels = {label: prediction.values[:, index].tolist() for index, label in enumerate(signature.labels)}
    if not predict.by_row:
        return orjson.dumps({"outputs": labels if len(labels) > 1 else labels[signature.labels[0]]})
    if len(labels) == 1:
        return orjson.dumps({"predictions": labels[signature.labels[0]]})
    rows = [dict(zip(labels, row, strict=True)) for row in zip(*labels.values(), strict=True)]
    return orjson.dumps({"predictions": rows})


def status(versions: Sequence[int]) -> dict[str, object]:
    """The body of GET /v1/models/{m}, of the versions that can be asked for, newest first."""
    good = {"error_code": "OK", "error_message": ""}
    return {
        "model_version_status": [
            {"version": str(version), "state": "AVAILABLE", "status": good} for version in versions
        ]
    }


def metadata(signature: Signature, version: int) -> dict[str, object]:
    """The body of GET /v1/models/{m}/metadata."""
    inputs = {
        column.name: _tensor(column.name, _datatype(column), 2 if column.is_list else 1) for column in signature.columns
    }
    outputs = {label: _tensor(label, "DT_FLOAT", 1) for label in signature.labels}
    definition = {"inputs": inputs, "outputs": outputs, "method_name": METHOD_NAME}
    return {
        "model_spec": {"name": signature.model, "signature_name": "", "version": str(version)},
        "metadata": {"signature_def": {"signature_def": {SIGNATURE_NAME: definition}}},
    }


def _shared(request: dict[str, Any], signature: Signature) -> dict[str, object]:
    """What holds for every candidate."""
    shared = request.get("shared", {})
    if not isinstance(shared, dict):
        raise Refused(f"`shared` is {shown(shared)}", wanted="an object with one value per input")
    for name in shared:
        signature.column(name)
    if len(shared) == len(signature.columns):
        raise Refused("every input is shared", wanted="at least one that tells the candidates apart")
    return shared


def _from_instances(
    request: dict[str, Any], signature: Signature, shared: dict[str, object]
) -> dict[str, list[object]]:
    instances = request["instances"]
    if not isinstance(instances, list):
        raise Refused(f"`instances` is {shown(instances)}", wanted="a list with one entry per candidate")
    signature.check_rows(len(instances))
    own = [column.name for column in signature.columns if column.name not in shared]
    if len(own) == 1 and not any(_is_named(instance) for instance in instances):
        return {own[0]: instances}
    values: dict[str, list[object]] = {name: [] for name in own}
    for row, instance in enumerate(instances):
        if not isinstance(instance, dict):
            raise Refused(f"instance {row} is {shown(instance)}", wanted="an object with a value per input")
        if len(instance) > len(values) or instance.keys() - values.keys():
            _refuse_repeated(next(name for name in instance if name not in values), signature)
        for name, cells in values.items():
            if name not in instance:
                raise Refused(f"instance {row} lacks input `{name}`", wanted="every input; null if unknown")
            cells.append(instance[name])
    return values


def _refuse_repeated(name: str, signature: Signature) -> None:
    """Of a name that is not wanted: it is unknown, or shared already."""
    signature.column(name)
    raise Refused(f"input `{name}` is in `shared`, and in a candidate, too", wanted="one of them")


def _from_inputs(request: dict[str, Any], signature: Signature, shared: dict[str, object]) -> dict[str, list[object]]:
    inputs = request["inputs"]
    own = [column.name for column in signature.columns if column.name not in shared]
    if len(own) == 1 and not isinstance(inputs, dict):
        inputs = {own[0]: inputs}
    if not isinstance(inputs, dict):
        raise Refused(f"`inputs` is {shown(inputs)}", wanted="an object with an array per input")
    for name, cells in inputs.items():
        if name not in own:
            _refuse_repeated(name, signature)
        if not isinstance(cells, list):
            raise Refused(f"input `{name}` is {shown(cells)}", wanted="an array with one value per candidate")
        signature.check_rows(len(cells))
    return inputs


def _is_named(instance: object) -> bool:
    return isinstance(instance, dict) and instance.keys() != {"b64"}


def _column(column: Column, cells: list[object]) -> Values:
    """One column; a scalar may stand alone or as a list of one, a text as `{"b64": …}`."""
    if not column.is_list:
        if column.type == "integer" and set(map(type, cells)) == INTEGERS:
            return column_of(column, cells)
        if list in map(type, cells):
            cells = [cell[0] if type(cell) is list and len(cell) == 1 else cell for cell in cells]
        if column.type == "string":
            cells = [_text(column, cell) for cell in cells]
    elif column.type == "list[string]":
        cells = [[_text(column, text) for text in cell] if type(cell) is list else cell for cell in cells]
    return column_of(column, cells)


def _text(column: Column, cell: object) -> object:
    if type(cell) is not dict:
        return cell
    encoded = cell.get("b64")
    if len(cell) != 1 or not isinstance(encoded, str):
        return cell
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise Refused(f"input `{column.name}`: {error}", wanted="base64 of UTF-8 text in b64") from error


def _datatype(column: Column) -> str:
    return DATATYPES[column.type.removeprefix("list[").removesuffix("]")]


def _tensor(name: str, datatype: str, rank: int) -> dict[str, object]:
    shape = {"dim": [{"size": "-1", "name": ""} for _ in range(rank)], "unknown_rank": False}
    return {"dtype": datatype, "tensor_shape": shape, "name": f"{name}:0"}
