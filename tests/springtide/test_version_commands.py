"""Every command about versions, on a real store on disk: what it prints, what it changes, how it refuses."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from checkpointing import paths
from checkpointing.compact import compact
from checkpointing.follower import Follower
from checkpointing.manifest import Gate
from checkpointing.restore import restore
from checkpointing.writer import Writer
from infra.object_store import ObjectStore, open_store
from infra.pipeline_file import dump_pipeline, load_pipeline
from infra.spec import Store
from springtide.cli import app
from tests.checkpointing.reference import Reference, content
from tests.checkpointing.stepping_clock import SteppingClock
from tests.infra.pipelines import GOOD

REFUSED = Gate(servable=False, reasons=("calibration",))


class Home:
    """A pipeline.yaml with six versions in its store; the fifth was refused."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = self.pipeline("pipeline.yaml", "store")
        self.pipe = load_pipeline(self.file)
        self.store: ObjectStore = open_store(self.pipe.store)
        writer = Writer.take_over(self.store, self.pipe.name, "a", SteppingClock())
        graph = writer.put_graph(b"program", weights=["w"], labels=["click"])
        self.steps = [
            content({1: 1, 2: 1}, offset=1, dense={"w": np.ones(2, np.float32)}, graph=graph),
            content({1: 2}, gone=[2], offset=2),
            content({3: 3}, offset=3),
            content({1: 9}, offset=4, gate=REFUSED),
            content({4: 4}, offset=5),
        ]
        for step in self.steps:
            writer.commit(step)

    def pipeline(self, name: str, store: str) -> Path:
        (self.folder / "source.yaml").write_text(GOOD, encoding="utf-8")
        spec = load_pipeline(self.folder / "source.yaml")
        spec = spec.model_copy(update={"store": Store(url=(self.folder / store).as_uri())})
        file = self.folder / name
        file.write_text(dump_pipeline(spec), encoding="utf-8")
        return file

    def run(self, *words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, list(words))
        assert result.exit_code == code, result.output
        return result


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_versions_inspect_and_diff(home: Home) -> None:
    file = str(home.file)
    listed = home.run("versions", file).stdout
    assert "claim" in listed and "calibration" in listed and "versions 1 to 6; bases none" in listed
    rows = orjson.loads(home.run("versions", file, "--count", "2", "-o", "json").stdout)
    assert [row["version"] for row in rows] == [5, 6] and rows[0]["reasons"] == ["calibration"]
    assert orjson.loads(home.run("inspect", "3", file).stdout)["version"] == 3
    history = home.run("inspect", "6", file, "--key", "1").stdout.splitlines()
    assert [line.split()[1] for line in history] == ["2", "3", "5"]
    assert home.run("inspect", "6", file, "--key", "2").stdout.splitlines()[-1].endswith("deleted")
    home.run("inspect", "6", file, "--key", "77", code=2)
    home.run("inspect", "99", file, code=2)
    (table,) = orjson.loads(home.run("diff", "2", "6", file, "-o", "json").stdout)
    assert (table["added"], table["removed"], table["changed"], table["largest"]) == (2, 1, 1, 8.0)
    assert "+2 -1 changed 1 same 0" in home.run("diff", "2", "6", file).stdout


def test_a_kept_base_is_told_of_though_its_manifest_is_gone(home: Home) -> None:
    compact(home.store, home.pipe.name, 3, SteppingClock())
    home.store.delete(paths.manifest_key(3))
    assert orjson.loads(home.run("inspect", "3", str(home.file)).stdout)["version"] == 3


def test_verify_tells_what_is_wrong(home: Home) -> None:
    home.run("compact", str(home.file), "--once")
    assert "ok" in home.run("verify", str(home.file)).stdout
    key = next(key for key in home.store.list("versions/") if key.startswith("versions/3/"))
    data = home.store.get(key)
    home.store.put(key, data[:-1] + b"x")
    found = home.run("verify", str(home.file), code=65)
    assert "version 3" in found.output and "checksum" in found.output and "1 of the" in found.output
    home.run("verify", str(home.file), "--first", "4", "--last", "5")


def test_compact_and_collect(home: Home) -> None:
    file = str(home.file)
    assert "base of version 6: 5 deltas" in home.run("compact", file, "--once").stdout
    assert "nothing to compact" in home.run("compact", file, "--once").stdout
    Reference.of(home.steps).assert_is(restore(home.store, home.pipe.name))
    before = home.store.list("versions/")
    told = home.run("gc", file, "--dry-run", "--keep", "1", "--keep-hours", "0").stdout
    assert "boundary 1 -> 1; would delete 0 objects" in told  # nothing is an hour old
    assert home.store.list("versions/") == before
    home.run("gc", file, "--keep", "0", code=2)


def test_a_rollback_until_it_is_resumed(home: Home) -> None:
    file, clock = str(home.file), SteppingClock()
    follower = Follower(home.store, home.pipe.name, clock)
    follower.poll()
    told = home.run("rollback", "3", file, "--who", "ann", "--why", "odd scores").stdout
    assert "pin 3  by ann: odd scores" in told
    clock.seconds += 1
    switch = follower.poll().switch
    assert switch is not None and switch.version == 3
    assert "pinned to 3 by ann" in home.run("versions", file).stdout
    home.run("resume", file, "--who", "bob")
    clock.seconds += 1
    switch = follower.poll().switch
    assert switch is not None and switch.version == 6
    assert "nothing is pinned" in home.run("resume", file).stdout
    assert len(home.run("decisions", file).stdout.splitlines()) == 2


def test_the_learners_decisions_are_entered_and_told(home: Home) -> None:
    file = str(home.file)
    assert "pause  by ann: odd clicks" in home.run("pause", file, "--who", "ann", "--why", "odd clicks").stdout
    assert "paused by ann" in home.run("versions", file).stdout
    assert "nothing is pinned" in home.run("unpin", file).stdout
    home.run("rollback", "3", file, "--who", "ann")
    home.run("unpin", file, "--who", "bob")
    assert "paused by ann" in home.run("versions", file).stdout, "unpin ends no pause"
    home.run("resume", file, "--who", "bob")
    for version in ("1", "5", "42"):  # a claim, a refused one, none
        home.run("revert-learner", version, file, code=2)
    home.run("revert-learner", "3", file, "--who", "ann", "--why", "bad day")
    log = orjson.loads(home.run("decisions", file, "-o", "json").stdout)
    assert [entry["kind"] for entry in log] == ["pause", "pin", "unpin", "resume", "revert-learner"]
    assert (log[-1]["version"], log[-1]["who"], log[-1]["why"]) == (3, "ann", "bad day")


def test_tables_are_printed_as_json_too(home: Home) -> None:
    file = str(home.file)
    assert orjson.loads(home.run("verify", file, "-o", "json").stdout)["wrong"] == []
    dry = orjson.loads(home.run("gc", file, "--dry-run", "-o", "json").stdout)
    assert dry["dry_run"] and dry["objects"] == []
    (row, *_) = home.run("inspect", "6", file, "--key", "1", "-o", "json").stdout.splitlines()
    assert orjson.loads(row) == {"version": 2, "table": "item", "key": 1, "values": [1.0, 1.0], "in_base": False}


def test_help_imports_nothing_that_takes_long() -> None:
    code = (
        "import sys\nfrom springtide.cli import app\nfrom typer.testing import CliRunner\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "slow = {'numpy', 'pyarrow', 'pydantic', 'tensorflow', 'confluent_kafka', 'obstore', 'httpx', 'orjson'}\n"
        "print(sorted(slow & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_a_refused_version_wants_a_promotion(home: Home) -> None:
    file = str(home.file)
    assert "promote" in home.run("rollback", "5", file, code=2).output
    assert "claim" in home.run("rollback", "1", file, code=2).output
    home.run("rollback", "42", file, code=2)
    home.run("promote", "5", file, "--who", "ann")
    home.run("rollback", "5", file, "--who", "ann")
    switch = Follower(home.store, home.pipe.name, SteppingClock()).poll().switch
    assert switch is not None and switch.version == 5


def test_what_was_promoted_is_told_and_exported(home: Home, tmp_path: Path) -> None:
    file, folder = str(home.file), tmp_path / "promoted"
    writer = Writer.take_over(home.store, home.pipe.name, "a", SteppingClock())
    writer.commit(content({5: 5}, offset=6, gate=REFUSED))
    home.run("promote", str(writer.version), file, "--who", "ann")
    (row,) = orjson.loads(home.run("versions", file, "--count", "1", "-o", "json").stdout)
    assert (row["servable"], row["promoted"]) == (False, True)
    assert "calibration  promoted" in home.run("versions", file, "--count", "1").stdout
    home.run("export", str(folder), file, "--no-saved-model")
    assert orjson.loads((folder / "version.json").read_bytes())["version"] == writer.version


def test_export_is_readable_elsewhere(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    home.run("export", str(folder), str(home.file), "--version", "3", "--no-saved-model")
    table = pq.read_table(folder / "item.parquet").to_pydict()
    assert table["key"] == [1] and table["values"] == [[2.0, 2.0]] and table["frequency"] == [2]
    assert np.load(folder / "dense.npz")["w"].tolist() == [1, 1]
    assert (folder / "graph.pb").read_bytes() == b"program"
    assert orjson.loads((folder / "version.json").read_bytes())["version"] == 3
    home.run("export", str(folder), str(home.file), code=2)  # never over something else


def test_a_copy_is_the_same_line(home: Home) -> None:
    other = home.pipeline("other.yaml", "elsewhere")
    home.run("compact", str(home.file), "--once")
    home.run("copy", str(other), str(home.file))
    target = open_store(load_pipeline(other).store)
    Reference.of(home.steps).assert_is(restore(target, home.pipe.name))
    home.run("verify", str(other))
    home.run("copy", str(other), str(home.file))  # again, to bring it up to date
    Writer.take_over(target, home.pipe.name, "b", SteppingClock(), takeover=True)
    assert "not the source's" in home.run("copy", str(other), str(home.file), code=2).output
