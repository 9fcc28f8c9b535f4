"""Reads and writes the Open Inference Protocol v2 over REST; knows no tables, no versions and no server.

The protocol: https://github.com/kserve/open-inference-protocol. Inputs are named by source column. A scalar column
has the shape [B] or [B,1], a list column [B,n]; `null` in JSON data stands for an unknown value, and pads the rows
of a list column. An input with the parameter `shared` has one row, [1], [1,1] or [1,n], that holds for all B
candidates. The binary tensor extension is read in `protocol_v2_binary`.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from serving import protocol_v2_binary as binary
from serving.body import read_object
from serving.layouts import Layout, Layouts, Tensor
from serving.prediction import Column as Values
from serving.prediction import Prediction, Question
from serving.refusals import Refused, nearest, shown
from serving.signature import Column, Signature, column_of
from serving.tensors import DATATYPES, OUTPUT_DATATYPE, by_row, checked_datatype, checked_shape

SERVER = "springtide"
PLATFORM = "springtide_tensorflow_graphdef"
EXTENSIONS = ("binary_tensor_data",)


@dataclass(frozen=True)
class Infer:
    """A request of this protocol.

    Attributes:
        question: The candidates.
        id: Echoed in the answer; None where the request has none.
        outputs: Labels asked for, in the order asked.
        in_binary: Those of them to be answered as binary tensors.
    """

    question: Question
    id: str | None
    outputs: tuple[str, ...]
    in_binary: frozenset[str]


def server_metadata(release: str) -> dict[str, object]:
    """The body of GET /v2; ``release`` is the program's own version."""
    return {"name": SERVER, "version": release, "extensions": list(EXTENSIONS)}


def model_metadata(signature: Signature, versions: Sequence[int]) -> dict[str, object]:
    """The body of GET /v2/models/{m}; ``versions`` can be asked for, newest first."""
    return {
        "name": signature.model,
        "versions": [str(version) for version in versions],
        "platform": PLATFORM,
        "inputs": [
            {
                "name": column.name,
                "datatype": DATATYPES[column.type][0],
                "shape": [-1, -1] if column.is_list else [-1],
            }
            for column in signature.columns
        ],
        "outputs": [{"name": label, "datatype": OUTPUT_DATATYPE, "shape": [-1]} for label in signature.labels],
    }


def read_infer(body: bytes, header_length: str | None, signature: Signature, layouts: Layouts) -> Infer:
    """Parses the body of POST /v2/models/{m}/infer.

    Args:
        body: The whole body: JSON, or JSON followed by binary tensors.
        header_length: Value of `Inference-Header-Content-Length`, None where the request has none.
        signature: What the model takes.
        layouts: Of this signature.

    Raises:
        Refused: The body is not what the protocol or the signature wants.
    """
    header, tail = binary.split(body, header_length)
    known = layouts.get(header)
    if known is not None:
        if known.plain is not None and tail.size == known.bytes:
            columns: dict[str, Values] = tail.integers(known.plain)
        else:
            columns = {
                tensor.column.name: binary.read_tensor(
                    tensor.column, tensor.datatype, tensor.shape, tail.take(tensor.column.name, tensor.bytes)
                )
                for tensor in known.tensors
            }
            tail.check_empty()
        return Infer(Question(columns, known.rows, known.shared), known.id, known.outputs, known.in_binary)
    return _read(header, tail, signature, layouts)


def _read(header: bytes, tail: binary.Tail, signature: Signature, layouts: Layouts) -> Infer:
    request = read_object(header)
    request_id = request.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise Refused(f"`id` is {shown(request_id)}", wanted="a string")
    inputs = request.get("inputs")
    if not isinstance(inputs, list):
        raise Refused(f"`inputs` is {shown(inputs)}", wanted="a list of tensors")
    columns: dict[str, Values] = {}
    shared: set[str] = set()
    tensors: list[Tensor] = []
    for entry in inputs:
        if not isinstance(entry, dict):
            raise Refused(f"an input is {shown(entry)}", wanted="an object with name, datatype, shape and data")
        column = signature.column(entry.get("name"))
        if column.name in columns:
            raise Refused(f"input `{column.name}` is given twice")
        datatype = checked_datatype(column, entry.get("datatype"))
        shape = checked_shape(column, entry.get("shape"))
        signature.check_rows(shape[0])
        if _flag(_parameters(entry, f"input `{column.name}`"), "shared", default=False):
            shared.add(column.name)
        size = _binary_size(column, entry)
        if size is None:
            values: Sequence[object] = _json_values(column, entry, shape)
            columns[column.name] = column_of(column, by_row(column, values, shape))
        else:
            columns[column.name] = binary.read_tensor(column, datatype, shape, tail.take(column.name, size))
            tensors.append(Tensor(column, datatype, shape, size))
    tail.check_empty()
    once = frozenset(shared)
    rows = signature.check(columns, once)
    outputs, in_binary = requested_outputs(request, signature)
    if len(tensors) == len(columns):  # else values stand in it, too
        layouts.put(header, Layout(tuple(tensors), rows, once, request_id, outputs, in_binary))
    return Infer(Question(columns, rows, once), request_id, outputs, in_binary)


def write_infer(infer: Infer, prediction: Prediction, signature: Signature) -> tuple[bytes, int | None]:
    """The body of the answer, and the length of its JSON part where binary tensors follow it."""
    outputs: list[dict[str, object]] = []
    tensors: list[bytes] = []
    for label in infer.outputs:
        values = prediction.values[:, signature.labels.index(label)]
        entry: dict[str, object] = {"name": label, "datatype": OUTPUT_DATATYPE, "shape": [len(values)]}
        if label in infer.in_binary:
            tensors.append(values.astype("<f4").tobytes())
            entry["parameters"] = {"binary_data_size": len(tensors[-1])}
        else:
            entry["data"] = values.tolist()
        outputs.append(entry)
    answer: dict[str, object] = {"model_name": signature.model, "model_version": str(prediction.version)}
    if infer.id is not None:
        answer["id"] = infer.id
    answer["outputs"] = outputs
    header = orjson.dumps(answer)
    if not tensors:
        return header, None
    return b"".join([header, *tensors]), len(header)


def _binary_size(column: Column, entry: dict[str, Any]) -> int | None:
    parameters = _parameters(entry, f"input `{column.name}`")
    size = parameters.get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or size < 0:
        raise Refused(f"input `{column.name}` has binary_data_size {shown(size)}", wanted="a number of bytes")
    if "data" in entry:
        raise Refused(f"input `{column.name}` has both `data` and binary_data_size", wanted="one of them")
    return size


def _parameters(holder: dict[str, Any], place: str) -> dict[str, Any]:
    parameters = holder.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise Refused(f"`parameters` of {place} is {shown(parameters)}", wanted="an object")
    return parameters


def _json_values(column: Column, entry: dict[str, Any], shape: tuple[int, ...]) -> list[object]:
    """The elements of a tensor in row-major order, from a flat or a nested array."""
    data = entry.get("data")
    if not isinstance(data, list):
        raise Refused(f"input `{column.name}` has the data {shown(data)}", wanted="an array")
    if len(shape) == 2 and data and all(type(row) is list for row in data):
        if len(data) != shape[0] or any(len(row) != shape[1] for row in data):
            raise Refused(
                f"input `{column.name}`: the rows of the data do not have the shape {list(shape)}",
                wanted="equally long rows; pad a list column with null",
            )
        data = list(itertools.chain.from_iterable(data))
    if len(data) != math.prod(shape):
        raise Refused(f"input `{column.name}` has {len(data)} values", wanted=f"{math.prod(shape)} of {list(shape)}")
    return data


def requested_outputs(request: dict[str, Any], signature: Signature) -> tuple[tuple[str, ...], frozenset[str]]:
    """Labels asked for, and those of them in binary.

    Raises:
        Refused: The request asks for what is not predicted, or twice for the same.
    """
    all_binary = _flag(_parameters(request, "the request"), "binary_data_output", default=False)
    outputs = request.get("outputs")
    if outputs is None or outputs == []:
        return signature.labels, frozenset(signature.labels if all_binary else ())
    if not isinstance(outputs, list):
        raise Refused(f"`outputs` is {shown(outputs)}", wanted="a list of outputs")
    names: list[str] = []
    in_binary: set[str] = set()
    for entry in outputs:
        name = entry.get("name") if isinstance(entry, dict) else entry
        if not isinstance(entry, dict) or not isinstance(name, str) or name not in signature.labels:
            hint = nearest(name, signature.labels) if isinstance(name, str) else ""
            raise Refused(f"unknown output {shown(name)}{hint}", wanted=", ".join(signature.labels))
        if name in names:
            raise Refused(f"output `{name}` is asked for twice")
        names.append(name)
        if _flag(_parameters(entry, f"output `{name}`"), "binary_data", default=all_binary):
            in_binary.add(name)
    return tuple(names), frozenset(in_binary)


def _flag(parameters: dict[str, Any], name: str, *, default: bool) -> bool:
    flag = parameters.get(name, default)
    if not isinstance(flag, bool):
        raise Refused(f"parameter {name} is {shown(flag)}", wanted="true or false")
    return flag
