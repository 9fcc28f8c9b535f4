"""What a Protobuf message holds, from a .proto file or a compiled description of it; must not know pipelines."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from infra.errors import Invalid
from streaming.attribute_types import MOMENT, Absent

TIMESTAMP: Final = "google.protobuf.Timestamp"
_COMPILE_S: Final = 60.0
_PROTO: Final = ".proto"


def describe(path: str, message: str) -> Any:
    """The description of ``message`` and of all that it needs, as a `FileDescriptorSet`.

    Args:
        path: A .proto file, whose folder its imports are relative to, or a `FileDescriptorSet` as `protoc
            --include_imports --descriptor_set_out` writes it.
        message: The message's full name.

    Raises:
        Invalid: The file cannot be read or compiled, or does not describe the message.
    """
    from google.protobuf.descriptor_pb2 import FileDescriptorSet  # type: ignore[import-untyped]
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    file = Path(path)
    try:
        found = FileDescriptorSet.FromString(_compiled(file) if file.suffix == _PROTO else file.read_bytes())
    except OSError as error:
        raise Invalid(f"cannot be read: {error.strerror}", cure="correct `proto`", where=path) from None
    except DecodeError:
        raise Invalid("no compiled description of Protobuf messages", cure="name the .proto file", where=path) from None
    _message(found, message, path)
    return found


def description(path: str, message: str) -> Any:
    """The descriptor of ``message``, with all that it needs.

    Raises:
        Invalid: As :func:`describe`.
    """
    return _message(describe(path, message), message, path)


class ProtobufSchema:
    """A message whose attributes can be asked for by their paths.

    Args:
        path: As for :func:`describe`.
        message: As for :func:`describe`.

    Raises:
        Invalid: As :func:`describe`.
    """

    def __init__(self, path: str, message: str) -> None:
        self._root = description(path, message)

    def shapes(self, path: str) -> frozenset[str]:
        """What the attribute at ``path`` is; see :func:`streaming.attribute_types.misfit`.

        Raises:
            Absent: There is none.
        """
        message: Any = self._root
        field: Any = None
        names = path.split(".")
        depth = 0
        while depth < len(names):
            field = message.fields_by_name.get(names[depth]) if message is not None else None
            if field is None:
                raise Absent(".".join(names[: depth + 1]))
            depth += 1
            message = field.message_type if is_map(field) or not is_list(field) else None
            if is_map(field) and depth < len(names):
                field = message.fields_by_name["value"]
                message = field.message_type
                depth += 1
        return frozenset({_shape(field)})


def _shape(field: Any) -> str:
    if is_map(field):
        return "object"
    kinds = {
        field.CPPTYPE_STRING: "bytes" if field.type == field.TYPE_BYTES else "string",
        field.CPPTYPE_ENUM: "string",
        field.CPPTYPE_BOOL: "boolean",
        field.CPPTYPE_FLOAT: "number",
        field.CPPTYPE_DOUBLE: "number",
        field.CPPTYPE_MESSAGE: "object",
    }
    kind = kinds.get(field.cpp_type, "integer")
    if kind == "object" and field.message_type.full_name == TIMESTAMP:
        kind = MOMENT
    return f"list[{kind}]" if is_list(field) else kind


def is_list(field: Any) -> bool:
    """Whether a field is repeated; a map is, too."""
    return bool(field.label == field.LABEL_REPEATED)


def is_map(field: Any) -> bool:
    """Whether a field is a map."""
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _message(described: Any, message: str, path: str) -> Any:
    from google.protobuf.descriptor_pool import DescriptorPool  # type: ignore[import-untyped]

    pool = DescriptorPool()
    try:
        for file in described.file:
            pool.Add(file)
        return pool.FindMessageTypeByName(message)
    except (KeyError, TypeError):
        known = ", ".join(
            f"`{'.'.join(filter(None, (file.package, each.name)))}`"
            for file in described.file
            for each in file.message_type
        )
        raise Invalid(
            f"describes no message `{message}`, or not all that it needs",
            wanted=f"one of {known}",
            cure="correct `message`, or compile with --include_imports",
            where=path,
        ) from None


def _compiled(file: Path) -> bytes:
    if not file.is_file():
        raise Invalid("no such file", cure="correct `proto`", where=str(file))
    with tempfile.TemporaryDirectory(prefix="springtide-proto-") as folder:
        output = Path(folder) / "descriptors"
        # Well-known types come with the compiler.
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{file.parent}", "--include_imports"]
        done = subprocess.run(
            [*command, f"--descriptor_set_out={output}", str(file)],
            capture_output=True,
            text=True,
            timeout=_COMPILE_S,
            check=False,
        )
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            if "No module named" in done.stderr:
                raise Invalid("the Protobuf compiler is missing", cure="install springtide[streaming]")
            raise Invalid(f"cannot be compiled: {'; '.join(lines[:3])}", cure="correct the file", where=str(file))
        return output.read_bytes()
