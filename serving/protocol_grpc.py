"""Reads and writes the Open Inference Protocol v2 over gRPC; knows messages, no tables, no versions and no server.

Tensors come as raw little-endian bytes for all inputs, or as typed contents, and are answered in the same form. The
parameter `shared` of an input and the parameter `at_least_version` of a request mean what they mean over REST.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving import protocol_v2
from serving import protocol_v2_binary as binary
from serving.open_inference import inference_pb2 as messages
from serving.prediction import Column as Values
from serving.prediction import Prediction, Question
from serving.refusals import Refused, shown
from serving.signature import Column, Signature, column_of
from serving.tensors import OUTPUT_DATATYPE, by_row, checked_datatype, checked_shape

CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def read_infer(request: Any, signature: Signature) -> protocol_v2.Infer:
    """What a `ModelInferRequest` asks.

    Raises:
        Refused: The message is not what the protocol or the signature wants.
    """
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise Refused(f"{len(raw)} raw_input_contents for {len(request.inputs)} inputs", wanted="one for each")
    columns: dict[str, Values] = {}
    shared: set[str] = set()
    for index, tensor in enumerate(request.inputs):
        column = signature.column(tensor.name)
        if column.name in columns:
            raise Refused(f"input `{column.name}` is given twice")
        datatype = checked_datatype(column, tensor.datatype)
        shape = checked_shape(column, list(tensor.shape))
        signature.check_rows(shape[0])
        if parameter(tensor.parameters, "shared", "bool_param", default=False):
            shared.add(column.name)
        if raw:
            columns[column.name] = binary.read_tensor(column, datatype, shape, memoryview(raw[index]))
        else:
            columns[column.name] = _typed(column, datatype, shape, tensor.contents)
    once = frozenset(shared)
    rows = signature.check(columns, once)
    asked = {"outputs": [{"name": output.name} for output in request.outputs]}
    outputs, _ = protocol_v2.requested_outputs(asked, signature)
    return protocol_v2.Infer(Question(columns, rows, once), request.id, outputs, frozenset(outputs if raw else ()))


def write_infer(infer: protocol_v2.Infer, prediction: Prediction, signature: Signature) -> Any:
    """The `ModelInferResponse`."""
    answer = messages.ModelInferResponse(
        model_name=signature.model, model_version=str(prediction.version), id=infer.id or ""
    )
    for label in infer.outputs:
        values = prediction.values[:, signature.labels.index(label)]
        output = answer.outputs.add(name=label, datatype=OUTPUT_DATATYPE, shape=[len(values)])
        if label in infer.in_binary:
            answer.raw_output_contents.append(np.ascontiguousarray(values, "<f4").tobytes())
        else:
            output.contents.fp32_contents.extend(values.tolist())
    return answer


def model_metadata(signature: Signature, versions: Sequence[int]) -> Any:
    """The `ModelMetadataResponse`; ``versions`` can be asked for, newest first."""
    return messages.ModelMetadataResponse(**protocol_v2.model_metadata(signature, versions))


def parameter(parameters: Mapping[str, Any], name: str, choice: str, default: Any) -> Any:
    """One parameter, of the choice that it must have.

    Raises:
        Refused: It is of another choice.
    """
    if name not in parameters:
        return default
    chosen = parameters[name].WhichOneof("parameter_choice")
    if chosen != choice:
        raise Refused(f"parameter {name} is {chosen or 'empty'}", wanted=choice)
    return getattr(parameters[name], choice)


def _typed(column: Column, datatype: str, shape: tuple[int, ...], contents: Any) -> Values:
    field = CONTENTS[datatype]
    values: Sequence[Any] = getattr(contents, field)
    if len(values) != math.prod(shape):
        raise Refused(
            f"input `{column.name}` has {len(values)} values in {field}", wanted=f"{math.prod(shape)} of {list(shape)}"
        )
    if datatype == "BYTES":
        values = [_text(column, value) for value in values]
    elif column.type == "number":
        values = [float(value) for value in values]
    return column_of(column, by_row(column, list(values), shape))


def _text(column: Column, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise Refused(f"input `{column.name}`: {shown(value)}: {error.reason}", wanted="UTF-8") from error
