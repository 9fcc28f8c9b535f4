"""What becomes of a model's state when its pipeline changes, part by part; must not know arrays, TensorFlow or stores.

One piece of code for both who ask: ``springtide plan`` prints it, and a learner that finds another pipeline's state in
its store obeys it (``learner/migration.py``).
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from infra.errors import Invalid
from learner.outline import (
    Outline,
    columns_taken_over,
    keys_of,
    keys_of_table,
    numbers,
    sequence_of,
    sources_of,
    standard_numbers,
    stride,
    taken_over,
)

Rule = Literal["kept", "widened", "fresh", "dropped", "refused"]

# The models that say which axes of their weights are the input's (learner/models/axes.py).
MOVABLE: Final = ("lr", "wdl", "deepfm", "dcnv2", "mmoe")
_SHAPES: Final = ("ladder", "adaptive", "multi_hash")


@dataclass(frozen=True)
class Line:
    """One line of a plan.

    Args:
        part: What of the state, such as "table `item`".
        what: What was changed.
        rule: What becomes of it.
        why: In a clause.
    """

    part: str
    what: str
    rule: Rule
    why: str


@dataclass(frozen=True)
class TableRule:
    """What becomes of one table.

    Args:
        rows: ``widened``: the coordinates that are there stay the first ones.
        slots: The optimizer's state of each row; ``fresh``: it begins from the values as they are.
        counts: What admission remembers.
    """

    rows: Rule = "kept"
    slots: Rule = "kept"
    counts: Rule = "kept"


@dataclass(frozen=True)
class Change:
    """All that becomes of a state.

    Args:
        lines: For a person.
        tables: By name of the new pipeline's tables.
        columns: ``[stride]``, per column of the new input the old one whose weights it takes over; -1: none.
        numbers: Likewise per number feature.
        standard: Likewise per number feature with standard scaling.
        dense: The dense weights: kept, widened by ``columns``, or fresh.
        dense_optimizer: The state of their rule.
        loss: What the loss has learned for itself.
        same_stream: Whether samples have the same columns and labels, so that what the gate holds for normal stands.
    """

    lines: tuple[Line, ...] = ()
    tables: Mapping[str, TableRule] = field(default_factory=dict)
    columns: tuple[int, ...] = ()
    numbers: tuple[int, ...] = ()
    standard: tuple[int, ...] = ()
    dense: Rule = "kept"
    dense_optimizer: Rule = "kept"
    loss: Rule = "kept"
    same_stream: bool = True

    @property
    def refused(self) -> list[Line]:
        """What must not be changed on this line of versions."""
        return [line for line in self.lines if line.rule == "refused"]

    def refuse(self, where: str) -> None:
        """Raises where the new pipeline cannot go on from this state.

        Raises:
            Invalid: With every reason.
        """
        if self.refused:
            reasons = "; ".join(f"{line.part}: {line.what} ({line.why})" for line in self.refused)
            raise Invalid(
                f"this pipeline cannot go on from the versions that are there: {reasons}",
                cure="undo the change, or give the changed model a store prefix of its own",
                where=where,
            )


def change(old: Outline, new: Outline, *, same_model: bool = True) -> Change:
    """What becomes of the state of a pipeline with the outline ``old`` under one with ``new``.

    Args:
        old: :func:`infra.feature_spec.state_outline` of the one.
        new: Of the other.
        same_model: False for a warm start, where the state is another model's: nothing is refused then.
    """
    features = list(_features(old, new))
    tables = {table["name"]: _table(table, old, new) for table in new["tables"]}
    lines = [*features, *(line for _, of_table in tables.values() for line in of_table)]
    gone = [table["name"] for table in old["tables"] if table["name"] not in tables]
    lines += [Line(f"table `{name}`", "dropped", "dropped", "its rows end with this version") for name in gone]
    rules = {name: rule for name, (rule, _) in tables.items()}

    columns, of_numbers = columns_taken_over(old, new), taken_over(numbers(old), numbers(new))
    moved = columns != tuple(range(stride(old))) or of_numbers != tuple(range(len(numbers(old))))
    labels = list(_labels(old, new, same_model=same_model))
    dense, of_dense = _dense(old, new, moved=moved, labels=bool(labels))
    lines += [*labels, *of_dense]
    loss, of_loss = _loss(old, new, dense)
    lines += of_loss
    if old["seed"] != new["seed"]:
        lines.append(Line("seed", f"{old['seed']} to {new['seed']}", "kept", "ids without a row begin otherwise"))
    rule_of = ("optimizer", "learning_rate")
    same_rule = all(old["model"].get(name) == new["model"].get(name) for name in rule_of)
    if not same_rule and dense != "fresh":
        what = f"optimizer {_told(old['model'])} to {_told(new['model'])}"
        lines.append(Line("dense optimizer", what, "fresh", "weights stay, the state of their rule begins anew"))
    return Change(
        lines=tuple(lines),
        tables=rules,
        columns=columns,
        numbers=of_numbers,
        standard=taken_over(standard_numbers(old), standard_numbers(new)),
        dense=dense,
        dense_optimizer="kept" if same_rule and dense != "fresh" else "fresh",
        loss=loss,
        same_stream=sources_of(old) == sources_of(new) and old["labels"] == new["labels"],
    )


def _features(old: Outline, new: Outline) -> Iterator[Line]:
    before = {feature["name"]: feature for feature in old["features"]}
    after = {feature["name"]: feature for feature in new["features"]}
    for name, feature in after.items():
        part = f"feature `{name}`"
        was = before.get(name)
        if was is None:
            yield Line(part, "added", "fresh", "its weights begin as those of a new model")
            continue
        if was["kind"] != feature["kind"]:
            yield Line(part, f"kind {was['kind']} to {feature['kind']}", "fresh", "it is another feature")
        elif feature["kind"] == "number":
            if was != feature:
                yield Line(part, _differences(was, feature), "fresh", "the number means something else")
        elif keys_of(was, old) != keys_of(feature, new):
            yield Line(part, _differences(was, feature) or "type of its field", "fresh", "its ids have other keys")
        elif was["table"] != feature["table"]:
            yield Line(part, f"table {was['table']} to {feature['table']}", "fresh", "its ids have other rows")
        elif sequence_of(was) != sequence_of(feature):
            yield Line(part, _differences(was, feature), "widened", "positions that are there keep their weights")
        elif was != feature:
            yield Line(part, _differences(was, feature), "kept", "rows stay, and are combined otherwise")
    for name in before:
        if name not in after:
            yield Line(f"feature `{name}`", "dropped", "dropped", "its weights end with this version")


def _table(table: Mapping[str, Any], old: Outline, new: Outline) -> tuple[TableRule, list[Line]]:
    name = table["name"]
    part = f"table `{name}`"
    was = next((each for each in old["tables"] if each["name"] == name), None)
    anew = TableRule("fresh", "fresh", "fresh")
    if was is None:
        return anew, [Line(part, "added", "fresh", "it has no rows yet")]
    keys_before, keys = keys_of_table(name, old), keys_of_table(name, new)
    if keys_before and keys and not keys_before & keys:
        return anew, [Line(part, "its features read other ids", "fresh", "no row that is there would be found again")]
    shape = [each for each in _SHAPES if was.get(each) != table.get(each)]
    if shape:
        return anew, [Line(part, f"{shape[0]} changed", "fresh", "rows are kept in another shape")]
    lines = []
    rows: Rule = "kept"
    if was["dim"] != table["dim"]:
        what = f"dim {was['dim']} to {table['dim']}"
        if table["dim"] < was["dim"]:
            return anew, [Line(part, what, "fresh", "which coordinates could go, nobody knows")]
        if any(each in table for each in _SHAPES):
            return anew, [Line(part, what, "fresh", "rows of several shapes are not widened")]
        rows = "widened"
        lines.append(Line(part, what, "widened", "new coordinates begin as those of new ids"))
    slots: Rule = "kept"
    if any(was.get(each) != table.get(each) for each in ("optimizer", "learning_rate")):
        slots = "fresh"
        what = f"optimizer {_told(was)} to {_told(table)}"
        lines.append(Line(part, what, "fresh", "values stay, the state of their rule begins anew"))
    if was.get("stamped") != table.get("stamped"):
        lines.append(Line(part, "eviction by steps", "kept", "the steps of a row count from its last version on"))
    if was["initializer"] != table["initializer"]:
        lines.append(Line(part, "initializer", "kept", "rows stay; ids without one begin otherwise"))
    if was.get("precision") != table.get("precision"):
        what = f"precision {was.get('precision', 'float32')} to {table.get('precision', 'float32')}"
        lines.append(Line(part, what, "kept", "values are rounded once"))
    counts: Rule = "kept"
    if was.get("admission") != table.get("admission"):
        counts = "fresh"
        lines.append(Line(part, "admission", "fresh", "rows stay; ids without one are counted anew"))
    return TableRule(rows, slots, counts), lines


def _dense(old: Outline, new: Outline, *, moved: bool, labels: bool) -> tuple[Rule, list[Line]]:
    part, other = "dense weights", ("optimizer", "learning_rate", "loss")
    before, after = ({k: v for k, v in each["model"].items() if k not in other} for each in (old, new))
    if before != after:
        return "fresh", [Line(part, _differences(before, after), "fresh", "they are another model's; rows stay")]
    if labels:
        return "fresh", [Line(part, "labels", "fresh", "the model predicts something else; rows stay")]
    if not moved:
        return "kept", []
    if after["name"] not in MOVABLE:
        why = f"model `{after['name']}` does not say which weights belong to which column; rows stay"
        return "fresh", [Line(part, "columns of the input", "fresh", why)]
    return "widened", [Line(part, "columns of the input", "widened", "every column that is there keeps its weights")]


def _labels(old: Outline, new: Outline, *, same_model: bool) -> Iterator[Line]:
    if old["labels"] != new["labels"]:
        what = f"{', '.join(old['labels'])} to {', '.join(new['labels'])}"
        if same_model:
            yield Line("labels", what, "refused", "quality and versions of one line tell of the same labels")
        else:
            yield Line("labels", what, "fresh", "the model predicts something else")


def _loss(old: Outline, new: Outline, dense: Rule) -> tuple[Rule, list[Line]]:
    before, after = old["model"]["loss"], new["model"]["loss"]
    if before == after:
        return "fresh" if dense == "fresh" else "kept", []
    if dense == "fresh":
        return "fresh", []
    return "fresh", [Line("loss", f"{before} to {after}", "kept", "weights go on from what the other loss taught")]


def _differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    names = [name for name in dict.fromkeys([*was, *now]) if was.get(name) != now.get(name)]
    return ", ".join(f"{name} {_short(was.get(name))} to {_short(now.get(name))}" for name in names)


def _short(value: Any) -> str:
    if value is None:
        return "none"
    return " ".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)


def _told(settings: Mapping[str, Any]) -> str:
    rate = settings.get("learning_rate")
    return settings["optimizer"] if rate is None else f"{settings['optimizer']} at {rate:g}"
