"""A store that is dead, slow, or refuses: which kind of error, how soon, and that no secret shows."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from infra.clock import SystemClock
from infra.errors import Invalid, SpringtideError, Unavailable
from infra.local.ports import free_ports
from infra.local.s3_server import S3Server
from infra.object_store import ObjectStore, open_store, prove_conditional_writes, provision_bucket
from infra.object_store import store as store_module
from infra.spec import Secret, Store

WRONG = "the-wrong-secret-itself"
SOON_S = 5.0

CALLS: list[Callable[[ObjectStore], object]] = [
    lambda store: store.get("a"),
    lambda store: store.get_range("a", 0, 1),
    lambda store: store.head("a"),
    lambda store: store.list("a"),
    lambda store: store.put("a", b""),
    lambda store: store.create("a", b""),
    lambda store: store.delete("a"),
    prove_conditional_writes,
]


def s3(endpoint: str, *, bucket: str = "springtide", access_key: str = "any", secret_key: str = WRONG) -> ObjectStore:
    return open_store(
        Store(
            url=f"s3://{bucket}/failures",
            endpoint=endpoint,
            access_key=Secret(value=access_key),
            secret_key=Secret(value=secret_key),
        )
    )


def failures(store: ObjectStore) -> Iterator[SpringtideError]:
    clock = SystemClock()
    for call in CALLS:
        began = clock.monotonic()
        with pytest.raises(SpringtideError) as caught:
            call(store)
        assert clock.monotonic() - began < SOON_S
        assert WRONG not in str(caught.value)
        assert store.url in str(caught.value)
        assert caught.value.cure
        yield caught.value


def test_a_dead_store_is_unavailable_within_seconds() -> None:
    for error in failures(s3(f"http://127.0.0.1:{free_ports(1)[0]}")):
        assert isinstance(error, Unavailable)
        assert "nothing listens there" in str(error)


def test_an_unknown_host_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="the host name is unknown"):
        s3("http://no-such-host.invalid:1").get("a")


def test_a_store_that_never_answers_is_unavailable_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "CALL", timedelta(seconds=0.1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = s3(f"http://127.0.0.1:{silent.getsockname()[1]}")
        for call in CALLS[:-1]:
            with pytest.raises(Unavailable, match="no answer in time"):
                call(store)


def test_a_folder_that_cannot_be_used_is_invalid(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Invalid, match=r"cannot use the folder.*Cure: correct `store\.url`"):
        open_store(Store(url=f"file://{tmp_path}/file/below"))


def test_wrong_keys_are_invalid_at_once_and_do_not_show(local_store: S3Server) -> None:
    for error in failures(s3(local_store.endpoint, access_key=local_store.access_key)):
        assert isinstance(error, Invalid)
        assert "store.secret_key" in error.cure
    for error in failures(s3(local_store.endpoint, access_key="nobody")):
        assert isinstance(error, Invalid)
        assert "store.access_key" in error.cure


def test_a_missing_bucket_may_come_and_is_told_with_its_cure(local_store: S3Server) -> None:
    store = s3(
        local_store.endpoint,
        bucket="nowhere-to-be-found",
        access_key=local_store.access_key,
        secret_key=local_store.secret_key,
    )
    for call in (store.get, store.list, lambda key: store.put(key, b"x"), lambda key: store.create(key, b"x")):
        with pytest.raises(Unavailable, match=r"the bucket does not exist.*Cure: create the bucket"):
            call("a")


def test_tls_where_there_is_none_is_told(local_store: S3Server) -> None:
    for error in failures(s3(local_store.endpoint.replace("http://", "https://"))):
        assert isinstance(error, Invalid)
        assert "write http://" in error.cure


def test_buckets_are_made_once(local_store: S3Server, unique: Callable[[str], str]) -> None:
    bucket = unique("made")
    keys = (local_store.access_key, local_store.secret_key)
    assert provision_bucket(local_store.endpoint, *keys, bucket) is True
    assert provision_bucket(local_store.endpoint, *keys, bucket) is False
    prove_conditional_writes(s3(local_store.endpoint, bucket=bucket, access_key=keys[0], secret_key=keys[1]))


def test_a_bucket_that_cannot_be_made_says_why(local_store: S3Server) -> None:
    with pytest.raises(Invalid, match="bucket `refused` cannot be made") as caught:
        provision_bucket(local_store.endpoint, local_store.access_key, WRONG, "refused")
    assert WRONG not in str(caught.value)
    with pytest.raises(Invalid, match="bucket `No`: invalid bucket name"):
        provision_bucket(local_store.endpoint, local_store.access_key, local_store.secret_key, "No")
    with pytest.raises(Unavailable, match="does not answer"):
        provision_bucket(f"http://127.0.0.1:{free_ports(1)[0]}", "a", WRONG, "bucket")
