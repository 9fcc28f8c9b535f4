"""What every object store must do, asked of memory, of a disk and of a real S3 server alike."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.clock import SystemClock, new_uuid
from infra.errors import Bug, Corrupt, Invalid
from infra.local.s3_server import S3Server
from infra.object_store import AlreadyExists, NotFound, ObjectStore, open_store, prove_conditional_writes
from infra.object_store.contract import Data
from infra.spec import Secret, Store
from tests.elsewhere import URL, elsewhere

# Racers and races. SeaweedFS lets each contender for a key wait for a second.
RACE = {"memory": (16, 20), "file": (16, 20), "s3": (5, 2)}


def memory_store(request: pytest.FixtureRequest) -> Store:
    return Store(url=f"memory://{request.node.nodeid}")


def disk_store(request: pytest.FixtureRequest) -> Store:
    folder: Path = request.getfixturevalue("tmp_path")
    return Store(url=f"file://{folder}/objects")


def s3_store(request: pytest.FixtureRequest) -> Store:
    server: S3Server = request.getfixturevalue("local_store")
    unique: Callable[[str], str] = request.getfixturevalue("unique")
    return Store(
        url=f"s3://{server.bucket}/{unique('objects')}/below",
        endpoint=server.endpoint,
        access_key=Secret(value=server.access_key),
        secret_key=Secret(value=server.secret_key),
    )


def store_elsewhere(request: pytest.FixtureRequest) -> Store:
    unique: Callable[[str], str] = request.getfixturevalue("unique")
    return elsewhere(f"{unique('objects')}/below")


STORES = [
    memory_store,
    disk_store,
    pytest.param(s3_store, marks=pytest.mark.stack),
    *([store_elsewhere] if URL else []),
]


@pytest.fixture(params=STORES)
def settings_of_store(request: pytest.FixtureRequest) -> Store:
    made: Store = request.param(request)
    return made


@pytest.fixture
def store(settings_of_store: Store) -> ObjectStore:
    return open_store(settings_of_store)


def test_what_is_put_is_got(store: ObjectStore) -> None:
    for key, data in {
        "a/b": b"0123",
        "a/empty": b"",
        "top.json": b"{}",
        "deep/er/and=deeper/x_y-z.0": b"\0\xff",
    }.items():
        store.put(key, data)
        assert store.get(key) == data
        assert store.head(key) == len(data)
        assert store.exists(key)
    store.put("a/b", b"new")
    assert store.get("a/b") == b"new"


def test_any_buffer_can_be_written(store: ObjectStore) -> None:
    kinds: list[Data] = [b"abc", bytearray(b"abc"), memoryview(b"xabc")[1:]]
    for number, data in enumerate(kinds):
        store.put(f"put/{number}", data)
        store.create(f"create/{number}", data)
        assert store.get(f"put/{number}") == store.get(f"create/{number}") == b"abc"


def test_an_absent_object_is_not_found(store: ObjectStore) -> None:
    store.put("a/b", b"")
    for key in ("absent", "a", "a/b/c", "a/bb"):
        assert store.head(key) is None
        assert not store.exists(key)
        with pytest.raises(NotFound, match=key):
            store.get(key)
        with pytest.raises(NotFound):
            store.get_range(key, 0, 1)
        store.delete(key)
    assert store.get("a/b") == b""


def test_a_range_is_exactly_what_was_asked_for(store: ObjectStore) -> None:
    store.put("a", bytes(range(100)))
    assert store.get_range("a", 0, 100) == bytes(range(100))
    assert store.get_range("a", 17, 23) == bytes(range(17, 23))
    assert store.get_range("a", 50, 50) == b""
    for start, end in ((0, 101), (99, 200), (100, 101), (500, 600)):
        with pytest.raises(Corrupt, match=r"object a ends at byte 100; wanted bytes"):
            store.get_range("a", start, end)


def test_a_taken_key_is_not_overwritten(store: ObjectStore) -> None:
    store.create("manifests/1.json", b"first")
    for data in (b"second", b"first"):
        with pytest.raises(AlreadyExists, match=r"manifests/1\.json"):
            store.create("manifests/1.json", data)
    assert store.get("manifests/1.json") == b"first"
    store.delete("manifests/1.json")
    store.create("manifests/1.json", b"again")
    assert store.get("manifests/1.json") == b"again"


def test_of_racing_creators_exactly_one_wins_and_its_bytes_stay(settings_of_store: Store) -> None:
    # A client of its own for each, as for learners in different processes.
    racers, races = RACE[settings_of_store.url.partition(":")[0]]
    stores = [open_store(settings_of_store) for _ in range(racers)]
    start = threading.Barrier(racers)

    def race(number: int, key: str) -> bool:
        start.wait()
        try:
            stores[number].create(key, f"racer {number}".encode() * 1000)
        except AlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(racers) as pool:
        for attempt in range(races):
            key = f"manifests/{attempt:020d}.json"
            won = list(pool.map(race, range(racers), [key] * racers))
            assert sum(won) == 1
            assert stores[0].get(key) == f"racer {won.index(True)}".encode() * 1000


def test_a_list_is_ascending_complete_and_of_one_folder(store: ObjectStore) -> None:
    keys = [f"manifests/{number:020d}.json" for number in range(25)]
    for key in [*reversed(keys), "manifests2/x", "manifest", "versions/1/a/pack"]:
        store.put(key, b"x")
    assert store.list("manifests") == store.list("manifests/") == keys
    assert store.list("manifests", after=keys[20]) == keys[21:]
    assert store.list("manifests", after=keys[-1]) == []
    assert store.list("manifests", after="manifests/00000000000000000003") == keys[3:]
    assert store.list("nothing") == []
    assert store.list("") == sorted([*keys, "manifest", "manifests2/x", "versions/1/a/pack"])


def test_a_list_begins_right_where_a_folder_sorts_among_names_that_begin_like_it(store: ObjectStore) -> None:
    keys = ["m/4-x", "m/4.json", "m/4/0", "m/4/1", "m/40/0", "m/4a"]
    for key in keys:
        store.put(key, b"x")
    for after in [*keys, "m/4", "m/4/", "m/4-", "m/4.", "m/40", "l", "n", "m", "m/"]:
        assert store.list("m", after=after) == [key for key in keys if key > after], after


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sets(st.from_regex(r"[a-c=._-][a-c0-9_]{0,2}(/[a-c0-9=_-]{1,3}){0,2}", fullmatch=True), max_size=8), st.data()
)
def test_lists_agree_with_a_plain_set(store: ObjectStore, keys: set[str], data: st.DataObject) -> None:
    # A file system cannot hold both `a` and `a/b`; no room asks it to.
    root = new_uuid()
    keys = {
        key for key in keys if not {".", ".."} & set(key.split("/")) and not any(k.startswith(f"{key}/") for k in keys)
    }
    for key in keys:
        store.put(f"{root}/{key}", b"x")
    folder = data.draw(st.sampled_from(["", "/a", "/b", "/a/a"]))
    below = sorted(f"{root}/{key}" for key in keys if f"/{key}".startswith(f"{folder}/"))
    assert store.list(f"{root}{folder}") == below
    after = data.draw(st.sampled_from(["a", "b/", "a/b", "_", "a-", "a/b-", *sorted(keys)]))
    assert store.list(f"{root}{folder}", after=f"{root}/{after}") == [key for key in below if key > f"{root}/{after}"]


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "../a", "a/./b", "a b", "a#1", "ä", "a\nb", "a%2fb", "a\\b"])
def test_a_key_that_some_store_would_change_is_a_bug(key: str) -> None:
    store = open_store(Store(url="memory://keys"))
    for call in (
        store.get,
        store.head,
        store.delete,
        lambda key: store.put(key, b""),
        lambda key: store.create(key, b""),
    ):
        with pytest.raises(Bug, match="object key"):
            call(key)


def test_a_store_that_refuses_to_overwrite_is_proved_and_left_clean(store: ObjectStore) -> None:
    prove_conditional_writes(store)
    assert store.list("") == []


def test_entries_tell_size_and_the_stores_time(store: ObjectStore) -> None:
    for key, data in (("e/b", b"12"), ("e/a/c", b""), ("f", b"1")):
        store.put(key, data)
    entries = store.entries("e")
    assert [(entry.key, entry.size) for entry in entries] == [("e/a/c", 0), ("e/b", 2)]
    assert all(abs(entry.modified_ms - SystemClock().now_ms()) < 60_000 for entry in entries)
    assert store.entries("absent") == []


class Overwriting:
    """A store that ignores the condition, as minio's own put_object does."""

    def __init__(self, inner: ObjectStore) -> None:
        self.url, self.put, self.get, self.delete = inner.url, inner.put, inner.get, inner.delete
        self.get_range, self.head, self.list, self.exists = inner.get_range, inner.head, inner.list, inner.exists
        self.entries = inner.entries

    def create(self, key: str, data: Data) -> None:
        self.put(key, data)


def test_a_store_that_overwrites_is_refused_and_left_clean(store: ObjectStore) -> None:
    careless: ObjectStore = Overwriting(store)
    with pytest.raises(Invalid, match="second conditional create overwrote the object; commits would be unsafe"):
        prove_conditional_writes(careless)
    assert store.list("") == []


def test_stores_of_one_memory_name_are_one_store() -> None:
    open_store(Store(url="memory://shared")).put("a", b"x")
    assert open_store(Store(url="memory://shared")).get("a") == b"x"
    assert not open_store(Store(url="memory://other")).exists("a")
