"""Takes versions elsewhere: all of them into another store, or one into Parquet and a graph; knows no learner."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from checkpointing.control import ControlLog
from checkpointing.copy import copy_store
from checkpointing.download import fetch_graph
from checkpointing.history import newest_version
from checkpointing.lease import held_chain
from checkpointing.restore import restore
from checkpointing.servable import newest_servable
from checkpointing.switching import Broken, Loader
from infra.clock import SystemClock
from infra.errors import Invalid
from infra.object_store import ObjectStore, open_store
from infra.pipeline_file import load_pipeline
from infra.spec import Pipeline
from kernels.rows import TableRows


def copy(path: Path, target: Path) -> None:
    """Copies the store of one pipeline.yaml into that of another one."""
    source, other = load_pipeline(path), load_pipeline(target)
    if source.name != other.name:
        raise Invalid(f"{target} is of model `{other.name}`", wanted=f"`{source.name}`", cure="copy to its own store")
    newest = copy_store(open_store(source.store), open_store(other.store), source.name, SystemClock())
    typer.echo(f"{other.store.url} holds versions up to {newest}")


def export(path: Path, folder: Path, version: int | None, *, saved_model: bool = True) -> None:
    """Writes a version as one Parquet file per table, its dense arrays as .npz, its program as a GraphDef, and all of
    it as a SavedModel.

    Args:
        path: The pipeline.yaml.
        folder: Where to; made if absent, and must be empty.
        version: Which version; the newest servable one if None.
        saved_model: Whether there is to be a SavedModel, too.
    """
    pipeline = load_pipeline(path)
    store = open_store(pipeline.store)
    newest = newest_version(store)
    if version is None and newest is not None:
        control = ControlLog(store, pipeline.name)
        control.poll()
        version = newest_servable(store, pipeline.name, newest, control.decisions.promoted)
    if version is None:
        raise Invalid("the store holds no servable version", where=store.url)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise Invalid(f"{folder} is not empty", cure="name an empty folder")
    state = restore(store, pipeline.name, version)
    for rows in state.tables.values():
        pq.write_table(_arrow(rows), folder / f"{rows.table}.parquet")
    if state.dense:
        np.savez(folder / "dense.npz", **{name: np.asarray(array) for name, array in state.dense.items()})
    about = {
        "model": pipeline.name,
        "version": version,
        "learned_through": state.manifest.learned_through,
        "dense": list(state.dense),
        "outputs": [] if state.graph is None else list(state.graph.labels),
        "statistics": {name: np.asarray(array).tolist() for name, array in state.statistics.items()},
    }
    if state.graph is not None:
        (folder / "graph.pb").write_bytes(fetch_graph(store, state.graph))
        if saved_model:
            about["inputs"] = _save_model(pipeline, store, version, folder / "saved_model")
    (folder / "version.json").write_bytes(orjson.dumps(about, option=orjson.OPT_INDENT_2))
    count = sum(len(rows.keys) for rows in state.tables.values())
    typer.echo(f"version {version}: {count:,} rows in {len(state.tables)} tables, to {folder}")


def _save_model(pipeline: Pipeline, store: ObjectStore, version: int, folder: Path) -> list[str]:
    """What a replica would answer from, as a SavedModel; returns its inputs."""
    # TensorFlow takes seconds to import: only where it is needed.
    from serving.saved_model import save_model
    from springtide.wiring import build_encoder, build_tables

    encoder = build_encoder(pipeline)
    with held_chain(store, pipeline.name, version, "export", SystemClock()) as (chain, lease):
        try:
            content = Loader(store).load(chain.manifest, chain.links, full=True, step=lease.renew)
        except Broken as error:
            raise error.problem from None
    return save_model(folder, content, encoder, build_tables(pipeline, encoder, max_batch=1, trainable=False))


def _arrow(rows: TableRows) -> pa.Table:
    dim = rows.values.shape[1]
    return pa.table(
        {
            "key": pa.array(rows.keys),
            "values": pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(rows.values).reshape(-1)), dim),
            "frequency": pa.array(rows.frequency),
            "last_seen": pa.array(rows.last_seen, type=pa.timestamp("ms", tz="UTC")),
        }
    )
