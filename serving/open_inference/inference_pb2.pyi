"""The generated messages are made when they are imported; their names are those of `inference.proto`."""

from typing import Any

def __getattr__(name: str) -> Any: ...
