"""Which rows an id has: the key that the encoder makes of it, table by table; knows no store."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pyarrow as pa

from infra.spec import IdFeature, Pipeline
from kernels.features import FeatureEncoder
from kernels.features import IdFeature as IdSettings
from streaming.sample import ARROW_TYPES


def row_keys(pipeline: Pipeline, text: str) -> dict[str, int]:
    """The key of id ``text`` in each table that one of its features could have given it.

    A table of integer ids has none where ``text`` is no integer, one with a vocabulary none where that lacks it. A
    table with features of both types has that of its first one. Crosses have keys that no single id tells.
    """
    types = {field.name: field.type for field in pipeline.events.impressions.fields}
    keys: dict[str, int] = {}
    for feature in pipeline.features:
        if isinstance(feature, IdFeature) and feature.table not in keys:
            key = _key(pipeline, feature, ARROW_TYPES[types[feature.source]], text)
            if key is not None:
                keys[feature.table] = key
    return keys


def _key(pipeline: Pipeline, feature: IdFeature, kind: pa.DataType, text: str) -> int | None:
    value: Any = text
    scalar = kind.value_type if pa.types.is_list(kind) else kind
    if not pa.types.is_string(scalar):
        try:
            value = int(text)
        except ValueError:
            return None
    words = tuple(type(value)(word) for word in feature.vocabulary)
    if words and value not in words:
        return None  # the row of all that is not in the vocabulary is nobody's
    encoder = FeatureEncoder([IdSettings(feature.name, feature.source, feature.table, feature.combiner, words)])
    batch = encoder.encode({feature.source: pa.array([value], scalar)})
    return int(batch.ids[0][0])
