"""Each image has a valid CycloneDX bill that names what its lock file, the jars and the page's folder hold."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from infra.docker.role_locks import EXTRAS, LOCKS
from infra.supply.sbom import ROLES, bom


@cache
def made(role: str) -> str:
    return bom(role)


def components(role: str) -> dict[str, Any]:
    return {each["purl"]: each for each in json.loads(made(role))["components"]}


@pytest.mark.parametrize("role", ROLES)
def test_it_holds_to_the_schema_and_is_the_same_twice(role: str) -> None:
    text = made(role)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert text == bom(role)


@pytest.mark.parametrize("role", EXTRAS)
def test_it_names_every_locked_package_with_its_hashes(role: str) -> None:
    wanted = (LOCKS / f"{role}.lock").read_text("utf-8").count("==")
    found = {purl: one for purl, one in components(role).items() if purl.startswith("pkg:pypi/")}
    assert len(found) == wanted
    assert all(one["hashes"] for one in found.values())


def test_it_names_jars_and_what_is_vendored() -> None:
    assert "pkg:maven/org.apache.flink/flink-sql-connector-kafka@5.0.0-2.2" in components("flink")
    assert "pkg:pypi/apache-flink-libraries@2.3.0" in components("flink")
    assert "pkg:maven/com.google.protobuf/protobuf-java@4.29.3" in components("join")
    echarts = components("page")["pkg:npm/echarts@6.1.0"]
    assert echarts["licenses"] == [{"license": {"id": "Apache-2.0"}}] and echarts["hashes"]


def test_no_bill_names_what_only_developers_have() -> None:
    assert not [purl for role in ROLES for purl in components(role) if "pytest" in purl or "kafka_2.13" in purl]
