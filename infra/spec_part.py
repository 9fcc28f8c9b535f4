"""What every part of a pipeline is made of: frozen values, names, secrets; knows no particular part."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from infra.units import Duration

Place = tuple[str | int, ...]

# A name becomes part of topic names, object keys, SQL identifiers and metric labels.
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
FieldName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]
FieldPath = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62}){0,7}$")]
FieldType = Literal["string", "integer", "number", "boolean", "list[string]", "list[integer]"]
ProtobufName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$")]
TopicName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")]

# The patterns above in words, for those who get one wrong.
PATTERNS = {
    r"^[a-z][a-z0-9_-]{0,62}$": "lower-case letters, digits, `_` and `-`, a letter first, at most 63",
    r"^[A-Za-z_][A-Za-z0-9_]{0,62}$": "letters, digits and `_`, no digit first, at most 63",
    r"^[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62}){0,7}$": "names with dots, such as `user.city`",
    r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$": "a message's full name, such as `shop.v1.Click`",
    r"^[a-zA-Z0-9._-]{1,249}$": "letters, digits, `.`, `_` and `-`, at most 249",
    r"^(s3://[^/]+|file:///|memory://).*$": "s3://bucket/prefix, file:///folder or memory://name",
    r"^https?://[^/]+": "http://host:port or https://host:port",
}


class LocatedErrors(ValueError):
    """Several things wrong between the parts of a pipeline, each with its own place below the part that tells them."""

    def __init__(self, errors: Iterable[tuple[Place, str]]) -> None:
        self.errors = tuple(errors)
        super().__init__("; ".join(f"{'.'.join(map(str, place))}: {text}" for place, text in self.errors))


def refuse(errors: Iterable[tuple[Place, str]]) -> None:
    """Raises :class:`LocatedErrors` if there are any."""
    found = tuple(errors)
    if found:
        raise LocatedErrors(found)


class Part(BaseModel):
    """A frozen part of the pipeline; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean_as_number(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) and info.field_name is not None:
            wanted = {int: "an integer", float: "a number"}.get(cls.model_fields[info.field_name].annotation)  # type: ignore[arg-type]
            if wanted is not None:
                raise ValueError(f"got `{str(value).lower()}`, wanted {wanted}")
        return value


class Secret(Part):
    """Where a secret is found; exactly one of the three. The value itself is never logged."""

    env: str | None = Field(default=None, min_length=1)
    file: str | None = Field(default=None, min_length=1)
    value: str | None = Field(default=None, repr=False)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.env, self.file, self.value)) != 1:
            raise ValueError("wanted exactly one of `env`, `file`, `value`")
        return self


def _more_than_none(span: Duration) -> Duration:
    if span.ms < 1:
        raise ValueError(f"got {span}, wanted at least 1ms")
    return span


# A duration that may not be zero.
Span = Annotated[Duration, AfterValidator(_more_than_none)]
