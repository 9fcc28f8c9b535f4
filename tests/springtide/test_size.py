"""`springtide size`: its predictions against what was measured of the demo, and what follows from more of anything."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from infra.pipeline_file import dump_pipeline
from infra.spec import Pipeline
from kernels.rows import TableRows
from springtide.cli import app
from springtide.datasets.movielens import MovieLens
from springtide.local_pipeline import JOIN
from springtide.sizing import unit_costs
from springtide.sizing.estimate import Load, carried, estimate, row_bytes, shape
from springtide.wiring import build_encoder, build_tables
from tests.infra.pipelines import GOOD

WITHIN = 0.3
DOCUMENT = Path(__file__).resolve().parents[2] / "docs/sizing.md"
# As `make demo` runs it: 100,000 ratings of whom 55 % are clicked, in three minutes.
DEMO_LOAD = Load(events=863.0, keys=58_000, replicas=2)


def demo(**parts: Any) -> Pipeline:
    """The demo's pipeline, its addresses aside."""
    topic = {"key": "impression_id", "time": "ts"}
    document = MovieLens(Path()).document()
    document["events"] = {
        "impressions": topic | {"topic": "shown"} | document["events"]["impressions"],
        "feedback": [topic | {"name": "click", "topic": "clicks"}],
    }
    document |= {"name": "demo", "kafka": {"bootstrap": "b:1"}, "store": {"url": "s3://b/d"}, "join": JOIN}
    return Pipeline.model_validate(document | parts)


def test_the_demos_throughput_is_predicted() -> None:
    predicted, measured = carried(demo(), cores=2.0), unit_costs.CARRIED_EVENTS.value
    assert abs(predicted / measured - 1) < WITHIN, (predicted, measured)


def test_the_demos_memory_is_predicted() -> None:
    # It was measured within three minutes, before any key could be forgotten.
    short = demo(join=JOIN | {"repeat_window": "1m"})
    predicted, measured = estimate(short, DEMO_LOAD, 10.0).mebibytes, unit_costs.DEMO_PEAK_MIB.value
    assert abs(predicted / measured - 1) < WITHIN, (predicted, measured)


def test_what_rows_cost_is_what_tables_of_the_pipeline_take() -> None:
    pipeline = demo()
    tables = build_tables(pipeline, build_encoder(pipeline), max_batch=1, trainable=True)
    before, count = tables.memory_bytes(), 300_000
    generator, name = np.random.default_rng(1), "user_id"
    tables.import_rows(
        TableRows(
            table=name,
            keys=generator.integers(-(2**63), 2**63 - 1, count, np.int64),
            values=np.zeros((count, 9), np.float32),
            slots=np.zeros((count, tables.slot_width(name)), np.float32),
            frequency=np.zeros(count, np.uint32),
            last_seen=np.zeros(count, np.int64),
            tombstones=np.zeros(0, np.int64),
        )
    )
    measured = (tables.memory_bytes() - before) / count
    assert abs(row_bytes(pipeline)[0] / measured - 1) < WITHIN, (row_bytes(pipeline)[0], measured)


@settings(max_examples=25, deadline=None)  # each builds the pipeline's tables
@given(st.floats(1, 1e5), st.floats(1.1, 10), st.integers(0, 10**9))
def test_more_of_anything_wants_no_less_of_anything(events: float, factor: float, keys: int) -> None:
    pipeline = demo()
    less, more = (estimate(pipeline, Load(rate, keys), 10.0) for rate in (events, events * factor))
    assert less.cores < more.cores and less.mebibytes <= more.mebibytes and less.put_bytes <= more.put_bytes
    wider = estimate(pipeline, Load(events, keys + 10**6), 10.0)
    assert wider.mebibytes > less.mebibytes and wider.kept_bytes > less.kept_bytes


def test_keys_that_are_remembered_cost_the_joins_memory(tmp_path: Path) -> None:
    day, hour = (demo(join=JOIN | {"repeat_window": each}) for each in ("1d", "1h"))
    load = Load(1000.0, 0)
    least = 1000 * 23 * 3600 * unit_costs.STATE_KEY_BYTES.value / 2**20
    assert estimate(day, load, 10.0).mebibytes - estimate(hour, load, 10.0).mebibytes > least
    assert "for join.repeat_window (5m): shorter" in run(tmp_path, "--events", "1e4")[1]
    assert "join.repeat_window" not in run(tmp_path, "--events", "10")[1]


def test_windows_cost_the_joins_memory_and_cores_carry_events() -> None:
    short, long = (demo(join={"window": w, "correction_window": "1d"}) for w in ("1m", "1h"))
    load = Load(1000.0, 0)
    assert estimate(long, load, 10.0).mebibytes > estimate(short, load, 10.0).mebibytes
    assert carried(demo(), 8.0) > 3 * carried(demo(), 2.0) and carried(demo(), 0.1) == 0


def test_a_shape_counts_sequences_by_their_length() -> None:
    features = [
        {"name": "item_id", "source": "item_id", "table": "items"},
        {"name": "genres", "source": "genres", "table": "items", "combiner": "none", "length": 20},
    ]
    model = {"name": "din", "candidate": "item_id", "history": "genres"}
    found = demo(features=features, tables=[{"name": "items", "dim": 8}], model=model)
    assert shape(found) == (21, 168) and shape(demo()) == (unit_costs.DEMO_IDS, unit_costs.DEMO_FLOATS)


def run(folder: Path, *words: str) -> tuple[int, str]:
    file = folder / "pipeline.yaml"
    file.write_text(dump_pipeline(demo()), encoding="utf-8")
    result = CliRunner().invoke(app, ["size", str(file), *words])
    return result.exit_code, result.output


def test_an_objective_that_does_not_hold_is_exit_1_with_the_interval_that_would(tmp_path: Path) -> None:
    code, text = run(tmp_path, "--events", "500", "--slo", "1s")
    assert code == 1 and "MORE than 1s. Cure: learner.commit_interval 400ms or less" in text
    code, text = run(tmp_path, "--events", "500", "--slo", "200ms")
    assert code == 1 and "no commit interval is short enough" in text
    code, text = run(tmp_path, "--events", "500", "--slo", "5s")
    assert code == 0 and "MORE" not in text and "beyond it" in text


def test_a_learner_that_is_too_slow_is_told_with_the_share_that_it_carries(tmp_path: Path) -> None:
    code, text = run(tmp_path, "--events", "1e6", "--keys", "1e9")
    assert code == 1 and "ONE process carries about" in text and "join.keep_negatives" in text


def test_as_json_it_holds_every_role(tmp_path: Path) -> None:
    code, text = run(tmp_path, "-o", "json")
    found = orjson.loads(text)
    assert code == 0 and {each["role"] for each in found["needs"]} == set(unit_costs.BASE_CORES)
    assert math.isclose(found["cores"], sum(each["cores"] * each["count"] for each in found["needs"]))
    code, text = run(tmp_path, "--slo", "soon")
    assert code == 2 and "--slo: got `soon`" in text


def rows() -> list[str]:
    several = ((f"{what}, {role}", each) for what, table in unit_costs.TABLES.items() for role, each in table.items())
    return [
        f"| {name} | {each.value:g} {each.unit} | {each.measured} | `{each.command}` | {each.load} |"
        for name, each in chain(several, unit_costs.SINGLE.items())
    ]


def test_the_document_has_every_figure_with_its_date_and_command() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    missing = [row for row in rows() if row not in text]
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("command", sorted({each.command for each in unit_costs.SINGLE.values()}))
def test_every_command_is_there_to_measure_again(command: str) -> None:
    root = DOCUMENT.parents[1]
    name = command.removeprefix("make ")
    assert name == "demo" or (root / "benchmarks" / f"{name.removeprefix('bench-').replace('-', '_')}.py").is_file()


def test_the_good_pipeline_of_the_tests_is_sized_too(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(GOOD, encoding="utf-8")
    assert CliRunner().invoke(app, ["size", str(file)]).exit_code == 0
