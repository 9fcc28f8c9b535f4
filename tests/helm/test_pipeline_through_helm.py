"""A pipeline that goes through Helm arrives as it was sent, with only the addresses added that it did not say."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import helm_python
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.pipeline_file import LARGEST_SAFE, dump_pipeline, parse_pipeline
from infra.spec import Pipeline
from tests.helm.conftest import CASES, Rendered, merged, read, render, values_of

ADDED = {
    "control": {"host"},
    "learner": {"host"},
    "serving": {"host"},
    "dashboard": {"host", "history", "targets"},
    "flink": {"rest"},
}


def arrived(rendered: Rendered, sent: dict[str, Any]) -> dict[str, Any]:
    """The pods' document without what the chart added to ``sent``; text is read as the pods read it."""
    document: dict[str, Any] = read(rendered.pipeline())
    for part, keys in ADDED.items():
        said = sent.get(part, {})
        for key in keys - said.keys():
            document.get(part, {}).pop(key, None)
        if part not in sent and document.get(part) == {}:
            del document[part]
    return document


@pytest.mark.parametrize("case", CASES)
def test_every_pipeline_arrives_as_it_was_sent(chart: helm_python.Chart, case: str) -> None:
    values = values_of(case)
    rendered = render(chart, values)
    assert arrived(rendered, values["pipeline"]) == values["pipeline"]
    parse_pipeline(rendered.pipeline())


def test_what_the_pipeline_says_itself_is_kept(chart: helm_python.Chart) -> None:
    own = {
        "control": {"host": "::", "port": 1},
        "learner": {"host": "::", "port": 2},
        "serving": {"host": "::", "port": 3},
        "dashboard": {
            "host": "::",
            "port": 4,
            "history": "/data/h.sqlite",
            "targets": {"join": "http://a", "learner": "http://b", "replicas": ["http://c", "http://d"]},
        },
        "flink": {"rest": "http://flink:8081"},
    }
    values = merged(values_of("existing-flink"), {"pipeline": own})
    rendered = render(chart, values)
    assert read(rendered.pipeline()) == values["pipeline"]


def test_a_check_that_is_switched_off_stays_so(chart: helm_python.Chart) -> None:
    """Null is a value here: without it the check's default would count."""
    gate = {"label_rate": None, "calibration": None, "log_loss": 0.5}
    values = merged(values_of("minimal"), {"pipeline": {"gate": gate}})
    pipeline = parse_pipeline(render(chart, values).pipeline())
    assert pipeline.gate == Pipeline.model_validate(values["pipeline"]).gate


INTEGERS = st.integers(-(2**63), 2**63 - 1)
# Control characters, which Helm writes as they are and YAML does not allow, have no place in a pipeline.
TEXT = st.characters(categories=["L", "N", "P", "S"])
SETTINGS = st.recursive(
    st.none()
    | st.booleans()
    | INTEGERS
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(TEXT, max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(TEXT, max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=20, deadline=None)
@given(seed=INTEGERS, chosen=st.dictionaries(st.text(TEXT, min_size=1, max_size=8), SETTINGS, max_size=3))
def test_a_dumped_pipeline_arrives_as_the_same_pipeline(
    chart: helm_python.Chart, seed: int, chosen: dict[str, Any]
) -> None:
    """Integers beyond 2^53 are dumped as text, which is what keeps them."""
    base = values_of("own-model")
    del base["pipeline"]["model"]["settings"]
    sent = Pipeline.model_validate(
        merged(base["pipeline"], {"learner": {"seed": seed}, "model": {"settings": _texted(chosen)}})
    )
    base["pipeline"] = read(dump_pipeline(sent))
    found = parse_pipeline(render(chart, base).pipeline())
    assert found.learner.seed == seed
    assert _same(found.model.settings, sent.model.settings)


def _same(found: Any, sent: Any) -> bool:
    """Equal, where a large whole float has lost its point: Helm's toYaml writes all its digits."""
    if isinstance(sent, dict):
        return isinstance(found, dict) and found.keys() == sent.keys() and all(_same(found[k], sent[k]) for k in sent)
    if isinstance(sent, list):
        return isinstance(found, list) and len(found) == len(sent) and all(map(_same, found, sent))
    if isinstance(sent, float) and isinstance(found, int):
        return sent.is_integer() and float(found) == sent
    return type(found) is type(sent) and bool(found == sent)


def _texted(value: Any) -> Any:
    """Settings hold any JSON: there an integer beyond 2^53 is text for its reader, too."""
    if isinstance(value, dict):
        return {key: _texted(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_texted(each) for each in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= LARGEST_SAFE:
        return str(value)
    return value


@pytest.mark.parametrize("number", [LARGEST_SAFE, LARGEST_SAFE + 1, -LARGEST_SAFE, 2**63])
def test_a_number_that_would_not_survive_is_refused(chart: helm_python.Chart, number: int) -> None:
    values = merged(values_of("minimal"), {"pipeline": {"learner": {"seed": number}}})
    with pytest.raises(helm_python.HelmValuesError, match="/pipeline/learner/seed"):
        chart.validate_schema(values)
