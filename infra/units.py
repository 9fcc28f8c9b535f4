"""Durations and sizes that carry their unit in the value, as `10m` and `64MiB`; knows no spec."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from typing import Any, ClassVar, Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema


class Quantity(str):
    """A number with its unit, kept as written; :attr:`amount` is the number in the base unit."""

    units: ClassVar[dict[str, int]] = {}
    example: ClassVar[str] = ""

    amount: int

    def __new__(cls, text: str) -> Self:
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)", text)
        if match is None or match.group(2) not in cls.units:
            raise ValueError(f"got `{text}`, wanted {cls.wanted()}")
        quantity = super().__new__(cls, text)
        quantity.amount = round(float(match.group(1)) * cls.units[match.group(2)])
        return quantity

    @classmethod
    def wanted(cls) -> str:
        """The right form in words."""
        return f"a number with a unit of {', '.join(cls.units)}, such as `{cls.example}`"

    @classmethod
    def _parsed(cls, value: Any) -> Self:
        """A bare number, the commonest mistake, gets the same answer as any other wrong text."""
        if value is None:
            raise ValueError(f"got nothing, wanted {cls.wanted()}")
        # As YAML has it, not Python.
        return cls(str(value).lower() if isinstance(value, bool) else str(value))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        units = "|".join(cls.units)
        return core_schema.no_info_plain_validator_function(
            cls._parsed,
            json_schema_input_schema=core_schema.str_schema(),
            serialization=core_schema.plain_serializer_function_ser_schema(str),
            metadata={"pydantic_js_updates": {"type": "string", "pattern": rf"^[0-9]+(\.[0-9]+)?\s*({units})$"}},
        )


class Duration(Quantity):
    """A span of time, such as ``10m``; ``ms`` and ``seconds`` give its length."""

    units: ClassVar[dict[str, int]] = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
    example: ClassVar[str] = "10m"

    @property
    def ms(self) -> int:
        return self.amount

    @property
    def seconds(self) -> float:
        return self.amount / 1000


class ByteSize(Quantity):
    """A number of bytes, such as ``64MiB``."""

    units: ClassVar[dict[str, int]] = {
        "B": 1,
        "KiB": 1 << 10,
        "MiB": 1 << 20,
        "GiB": 1 << 30,
        "KB": 1000,
        "MB": 1000_000,
        "GB": 1000_000_000,
    }
    example: ClassVar[str] = "64MiB"

    @property
    def bytes(self) -> int:
        return self.amount
