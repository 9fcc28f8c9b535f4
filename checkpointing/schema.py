"""The JSON Schema of a manifest, made from the types that read it; ``python -m checkpointing.schema`` writes it."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import orjson

from checkpointing.manifest import Manifest

FILE = Path(__file__).with_name("manifest.schema.json")


# Fields that manifests of format 2 had not from the beginning; absent means 0, or none.
LATER: Final = frozenset({"obeyed", "quarantined"})


def manifest_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of what a writer writes; all fields are required but those that came later."""
    schema = Manifest.model_json_schema(mode="serialization")
    schema["properties"]["sha256"] = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
    schema["required"] = [name for name in schema["required"] if name not in LATER] + ["sha256"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "description": "A version of a model; FORMAT.md says what each field means.",
    }


def text() -> bytes:
    """The schema file's bytes."""
    return orjson.dumps(manifest_schema(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


if __name__ == "__main__":
    FILE.write_bytes(text())
