"""Laying a site's settings over a component's."""

from __future__ import annotations

from provision.merge import deep_merge


def test_mappings_are_merged_and_plain_values_replaced() -> None:
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    assert deep_merge(base, {"a": {"c": [3]}, "d": 2}) == {"a": {"b": 1, "c": [3]}, "d": 2}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 1}


def test_a_null_takes_a_key_away() -> None:
    assert deep_merge({"a": 1, "b": 2}, {"a": None}) == {"b": 2}


def test_named_items_are_merged_by_name() -> None:
    base = {"args": [{"name": "x", "value": "1"}, {"name": "y", "value": "2"}]}
    over = {"args": [{"name": "y", "value": "3"}, {"name": "z", "value": "4"}]}
    assert deep_merge(base, over)["args"] == [
        {"name": "x", "value": "1"},
        {"name": "y", "value": "3"},
        {"name": "z", "value": "4"},
    ]
