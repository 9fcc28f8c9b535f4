"""How a manifest describes the packs of its version, and the types it is made of; opens no pack."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

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
        elif self.rows or self.tombstones:
            raise ValueError(f"{what}: an array has no rows or tombstones")
        wanted = layout.section_bytes(self.role, self.dtype, self.shape, self.tombstones)
        if self.bytes != wanted:
            raise ValueError(f"{what}: {self.bytes} bytes, but its shape takes {wanted}")
        if self.offset % layout.ALIGNMENT:
            raise ValueError(f"{what}: offset {self.offset} is not a multiple of {layout.ALIGNMENT}")
        return self

    def _check_rows(self, what: str) -> None:
        if self.dtype != "float32" or len(self.shape) != 2 or self.shape[0] != self.rows:
            raise ValueError(f"{what}: wants float32 [rows, columns], got {self.dtype} {list(self.shape)}")
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
