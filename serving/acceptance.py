"""Decides whether a committed version fits this replica, before any of it is applied; knows no store and no thread."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from checkpointing.content import ServingContent
from infra.errors import Corrupt, Invalid
from kernels.features import Feature, NumberFeature, RunningStatistics
from kernels.tables import EmbeddingTables
from serving.dense_program import DenseGraphs, DenseProgram
from serving.signature import Signature
from serving.snapshot import Version

UNDO = "undo the change in this replica's pipeline.yaml, or restart the replica with the learner's"


class Acceptance:
    """What a version must be like to answer here.

    Args:
        signature: The columns and labels that this replica promises.
        features: The features in order.
        feature_spec_hash: Digest of the features as this replica's pipeline has them.
    """

    def __init__(self, signature: Signature, features: Sequence[Feature], feature_spec_hash: str) -> None:
        self._signature = signature
        self._features = features
        self._hash = feature_spec_hash
        self._graphs = DenseGraphs()

    def accept(self, content: ServingContent, tables: EmbeddingTables) -> Version:
        """What ``content`` brings beside its rows, ready to answer.

        Args:
            content: A switch that the store was read for.
            tables: Tables with the layout that this replica has.

        Raises:
            Invalid: The version was made for other features, labels or tables.
            Corrupt: Its graph, weights or statistics are wrong.
        """
        self._check_spec(content)
        self._check_tables(content, tables)
        try:
            statistics = RunningStatistics(self._features)
            if content.statistics:
                statistics = RunningStatistics.from_state(self._features, content.statistics)
        except (KeyError, ValueError) as error:
            raise Corrupt(f"version {content.version}: {error}") from error
        return Version(
            number=content.version,
            program=self._program(content, tables),
            statistics=statistics,
            committed_ts=content.manifest.created_ts,
        )

    def _check_spec(self, content: ServingContent) -> None:
        found = content.manifest.feature_spec_hash
        if found != self._hash:
            raise Invalid(
                f"version {content.version} was made by other features, tables or another model "
                f"(feature spec {found[:12] or 'none'})",
                wanted=f"the spec of this replica's pipeline ({self._hash[:12]})",
                cure=UNDO,
            )

    def _check_tables(self, content: ServingContent, tables: EmbeddingTables) -> None:
        dims = {table.name: table.dim for table in tables.tables}
        for rows in content.tables:
            if dims.get(rows.table) != rows.values.shape[1]:
                raise Invalid(
                    f"version {content.version} has rows of {rows.values.shape[1]} values in table `{rows.table}`",
                    wanted=", ".join(f"{name} {dim}" for name, dim in dims.items()),
                    cure=UNDO,
                )

    def _user_columns(self, tables: EmbeddingTables) -> npt.NDArray[np.int64]:
        """Columns of the dense input that the pipeline's `user_fields` fill."""
        fields = self._signature.user_fields
        columns = [
            np.arange(tables.offsets[feature.name], tables.offsets[feature.name] + tables.widths[feature.name])
            for feature in self._features
            if not isinstance(feature, NumberFeature) and fields.issuperset(feature.sources)
        ]
        numbers = [feature for feature in self._features if isinstance(feature, NumberFeature)]
        places = [tables.numbers_offset + place for place, one in enumerate(numbers) if one.source in fields]
        return np.concatenate([*columns, np.array(places, np.int64)])

    def _program(self, content: ServingContent, tables: EmbeddingTables) -> DenseProgram:
        if content.graph is None or content.graph_bytes is None:
            raise Corrupt(f"version {content.version} has no dense program", wanted="a graph in it or before it")
        missing = [name for name in content.graph.weights if name not in content.dense]
        if missing:
            raise Corrupt(f"version {content.version} lacks the dense arrays {', '.join(missing)}")
        graph = self._graphs.get(content.graph_bytes, content.graph.sha256, self._user_columns(tables))
        if graph.stride != tables.stride:
            raise Invalid(
                f"the dense program of version {content.version} takes rows of {graph.stride} numbers",
                wanted=f"{tables.stride}, as this replica's features fill",
                cure=UNDO,
            )
        if graph.labels != len(self._signature.labels):
            raise Invalid(
                f"the dense program of version {content.version} predicts {graph.labels} labels",
                wanted=", ".join(self._signature.labels),
                cure=UNDO,
            )
        return graph.bind({name: content.dense[name] for name in content.graph.weights})
