"""How a manifest describes the packs of its version, and the types it is made of; opens no pack."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from checkpointing import layout, paths

Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Number = Annotated[int, Field(ge=1, lt=2**63)]
Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
TABLE_NAME = r"^[A-Za-z_][A-Za-z0-9_]{0,62}$"
ArrayName = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Part(BaseModel):
    """A frozen part of a manifest. Unknown members are ignored, as FORMAT.md 2 has it."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", allow_inf_nan=False, json_schema_serialization_defaults_required=True
    )


class Range(Part):
    """One section of a pack."""

    role: layout.Role
    name: ArrayName
    offset: Count
    bytes: Count
    rows: Count
    tombstones: Count
    dtype: layout.Dtype
    shape: tuple[Count, ...]

    @model_validator(mode="after")
    def _sizes_agree(self) -> Self:
        what = f"{self.role} {self.name!r}"
        if not layout.shape_is_sane(self.shape):
            raise ValueError(f"{what}: shape {list(self.shape)} cannot be meant")
        if self.role in layout.ROW_ROLES:
            self._check_rows(what)
        elif self.rows or self.tombstones or self.dtype not in layout.ARRAY_DTYPES:
            raise ValueError(f"{what}: an array of {self.dtype} with {self.rows} rows, {self.tombstones} tombstones")
        wanted = layout.section_bytes(self.role, self.dtype, self.shape, self.tombstones)
        if self.bytes != wanted:
            raise ValueError(f"{what}: {self.bytes} bytes, but its shape takes {wanted}")
        if self.offset % layout.ALIGNMENT:
            raise ValueError(f"{what}: offset {self.offset} is not a multiple of {layout.ALIGNMENT}")
        return self

    def _check_rows(self, what: str) -> None:
        dtypes = layout.ROW_DTYPES if self.role == "rows" else {"float32"}
        if self.dtype not in dtypes or len(self.shape) != 2 or self.shape[0] != self.rows:
            raise ValueError(f"{what}: wants {sorted(dtypes)} [rows, columns], got {self.dtype} {list(self.shape)}")
        if self.shape[1] > layout.MAX_COLUMNS or self.tombstones > layout.MAX_ELEMENTS:
            raise ValueError(f"{what}: {self.shape[1]} columns, {self.tombstones} tombstones cannot be meant")
        if self.role == "rows" and self.shape[1] == 0:
            raise ValueError(f"{what}: rows have at least one value")


class Prefix(Part):
    """The first bytes of a file: all that a replica needs of it."""

    bytes: Count
    sha256: Sha256


class File(Part):
    """One pack of the version."""

    key: str
    bytes: Count
    sha256: Sha256
    serving: Prefix | None
    ranges: tuple[Range, ...]

    @model_validator(mode="after")
    def _ranges_fill_the_file(self) -> Self:
        name = paths.pack_name(self.key)
        if (self.serving is None) != (name == "state.pack"):
            raise ValueError(f"{self.key}: a serving prefix belongs into pack and serving.pack, nowhere else")
        serving = self.serving.bytes if self.serving else 0
        at = layout.HEADER_BYTES
        for part in self.ranges:
            if part.offset != at:
                raise ValueError(f"{self.key}: {part.role} {part.name!r} at {part.offset}, wanted {at}")
            at += part.bytes
            if (part.role in layout.SERVING_ROLES) != (at <= serving):
                raise ValueError(f"{self.key}: {part.role} {part.name!r} on the wrong side of {serving}")
        ends = max(
            (r.offset + r.bytes for r in self.ranges if r.role in layout.SERVING_ROLES), default=layout.HEADER_BYTES
        )
        if at != self.bytes or (self.serving and serving != ends) or (name == "serving.pack" and serving != at):
            raise ValueError(f"{self.key}: {self.bytes} bytes, {serving} serving, but the ranges end at {at}")
        return self


def sections_of(files: Sequence[File]) -> dict[tuple[str, str], Range]:
    """All sections of ``files`` by role and name."""
    return {(part.role, part.name): part for file in files for part in file.ranges}


def check_files(files: Sequence[File], is_mine: Callable[[str], bool], owner: str) -> None:
    """Whether ``files`` are what one commit writes: at most one of each kind, no section twice, rows with their state.

    Args:
        files: As a manifest or a part of a base lists them.
        is_mine: Whether a key may stand there; any other is refused, never fetched.
        owner: Whose files they are, for the message.

    Raises:
        ValueError: They are not.
    """
    for file in files:
        if not is_mine(file.key):
            raise ValueError(f"{file.key!r} is no file of {owner}")
    names = [paths.pack_name(file.key) for file in files]
    if len(set(names)) != len(names) or ("pack" in names and len(names) > 1):
        raise ValueError(f"files {names}: wanted one pack, or a serving.pack and a state.pack")
    sections = sections_of(files)
    if len(sections) != sum(len(file.ranges) for file in files):
        raise ValueError("a role and name occurs twice in files")
    for (role, name), part in sections.items():
        if role in layout.ROW_ROLES:
            twin = sections.get(("row_state" if role == "rows" else "rows", name))
            if twin is None or (twin.rows, twin.tombstones) != (part.rows, part.tombstones):
                raise ValueError(f"table {name!r}: rows and row_state do not belong together")
            if role == "rows" and part.dtype != "float32" and twin.shape[1] < part.shape[1]:
                raise ValueError(f"table {name!r}: rows in {part.dtype}, and row_state without their float32 values")
