"""Asks a replica as Triton's users do, with their client alone: `tritonclient_asks.py PORT QUESTION.json`."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

TYPES: dict[str, Any] = {"BYTES": object, "INT64": np.int64, "FP64": np.float64, "BOOL": np.bool_}


def main(port: str, file: str) -> None:
    """Writes what the client makes of the answers as JSON to standard output."""
    import tritonclient.grpc as triton

    asked = json.loads(Path(file).read_text(encoding="utf-8"))
    client = triton.InferenceServerClient(f"127.0.0.1:{port}")
    inputs = []
    for name, (datatype, shape, data) in asked.items():
        values = [text.encode() for text in data] if datatype == "BYTES" else data
        tensor = triton.InferInput(name, shape, datatype)
        tensor.set_data_from_numpy(np.array(values, TYPES[datatype]).reshape(shape))
        inputs.append(tensor)
    outputs = [triton.InferRequestedOutput("click")]
    answer = client.infer(
        "demo",
        inputs,
        model_version="2",
        request_id="seven",
        outputs=outputs,
        client_timeout=20,
        parameters={"at_least_version": 2},
    )
    try:
        client.infer("demo", inputs, model_version="77")
        refused = "nothing"
    except triton.InferenceServerException as error:
        refused = f"{error.status()}: {error.message()}"
    found = {
        "healthy": [client.is_server_live(), client.is_server_ready(), client.is_model_ready("demo", "2")],
        "server": client.get_server_metadata().name,
        "inputs": [tensor.name for tensor in client.get_model_metadata("demo").inputs],
        "answer": [answer.get_response().id, answer.get_response().model_version],
        "click": answer.as_numpy("click").tolist(),
        "refused": refused,
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
