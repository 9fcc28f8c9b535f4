"""A right pipeline.yaml with known lines, to be made wrong by the tests; knows no reader."""

# SPDX-License-Identifier: Apache-2.0

GOOD = """\
name: demo
kafka:
  bootstrap: 127.0.0.1:9092
events:
  impressions:
    topic: shown
    key: id
    time: ts
    fields:
      - {name: user, type: string}
      - {name: item, type: integer}
      - {name: price, type: number}
      - {name: tags, type: "list[string]"}
  feedback:
    - {name: click, topic: clicks, key: id, time: ts}
join:
  window: 10m
  correction_window: 1h
features:
  - {name: user, source: user, table: users}
  - {name: item, source: item, table: items}
  - {name: tags, source: tags, table: items, combiner: sum}
  - {kind: number, name: price, source: price, scaling: log}
tables:
  - {name: users, dim: 8}
  - {name: items, dim: 8}
model: {name: deepfm, hidden: [64, 32]}
learner: {commit_interval: 1s, port: 8600}
store:
  url: s3://bucket/demo
  endpoint: http://127.0.0.1:8333
  access_key: {env: STORE_ACCESS_KEY}
  secret_key: {env: STORE_SECRET_KEY}
"""


def changed(old: str, new: str) -> str:
    """The right pipeline with its one ``old`` replaced; fails loudly where that is not there exactly once."""
    assert GOOD.count(old) == 1, f"{old!r} stands {GOOD.count(old)} times in the pipeline"
    return GOOD.replace(old, new)
