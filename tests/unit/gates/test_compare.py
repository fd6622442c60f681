"""Where two versions of an object differ."""

from __future__ import annotations

import pytest

from provision.compare import applied_fields, differing_fields, says_all, within
from provision.manifests import key, parse


def test_paths_of_what_differs() -> None:
    live = {"spec": {"ports": [{"port": 1}, {"port": 2}], "a": 1}, "data": {"x": "1", "y": "2"}}
    wanted = {"spec": {"ports": [{"port": 1}, {"port": 3}], "a": 1}, "data": {"x": "1", "z": "2"}}
    assert differing_fields(live, wanted) == ["data.y", "data.z", "spec.ports[1].port"]


def test_what_the_server_writes_does_not_count() -> None:
    live = {"metadata": {"resourceVersion": "1", "generation": 1, "uid": "a"}, "status": {"n": 1}}
    wanted = {"metadata": {"managedFields": [], "generation": 2, "uid": "b"}}
    assert differing_fields(live, wanted) == []


def test_no_more_than_asked_for() -> None:
    wanted = {"data": {str(number): "x" for number in range(100)}}
    assert len(differing_fields({"data": {}}, wanted, most=5)) == 5


def test_a_list_of_another_length_is_one_difference() -> None:
    assert differing_fields({"rules": [1]}, {"rules": [1, 2]}) == ["rules"]


def test_names_of_objects() -> None:
    text = """
apiVersion: v1
kind: List
items:
  - {kind: Namespace, metadata: {name: one}}
---
---
kind: Role
metadata: {name: two, namespace: one}
"""
    assert [key(item) for item in parse(text)] == ["Namespace one", "Role one/two"]


@pytest.mark.parametrize(
    ("wanted", "live", "found"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, True),
        ({"a": None}, {}, True),
        ({"a": 1}, {}, False),
        ({"cpu": 1}, {"cpu": "1"}, True),
        ({"cpu": "0.1"}, {"cpu": "100m"}, False),
        ({"initialDelaySeconds": 0}, {}, True),
        ({"runAsUser": 0}, {}, False),
        ({"a": [1]}, {"a": [1, 2]}, False),
    ],
)
def test_what_stands_there_in_the_same_words(
    wanted: dict[str, object], live: dict[str, object], *, found: bool
) -> None:
    assert within(wanted, live) is found


def test_the_fields_that_a_manager_applied() -> None:
    def entry(manager: str, operation: str, field: str, **more: str) -> dict[str, object]:
        fields: dict[str, object] = {f"f:{field}": {}}
        return {"manager": manager, "operation": operation, "fieldsV1": fields, **more}

    managed = [
        entry("other", "Apply", "a"),
        entry("provision", "Update", "b"),
        entry("provision", "Apply", "c", subresource="status"),
        entry("provision", "Apply", "d"),
    ]
    assert applied_fields({"metadata": {"managedFields": managed}}, "provision") == {"f:d": {}}
    assert applied_fields({"metadata": {}}, "provision") == {}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"f:data": {".": {}, "f:x": {}}}, True),
        ({"f:data": {"f:y": {}}}, False),
        ({"f:ports": {'k:{"port":1}': {".": {}, "f:port": {}}}}, True),
        ({"f:ports": {'k:{"port":2}': {}}}, False),
        ({"f:ports": {'k:{"port":1}': {"f:name": {}}}}, False),
        ({"f:finalizers": {'v:"keep"': {}}}, True),
        ({"f:finalizers": {'v:"gone"': {}}}, False),
        ({"f:data": {"k:{}": {}}}, False),
    ],
)
def test_whether_a_manifest_says_all_that_was_applied(
    fields: dict[str, object], *, said: bool
) -> None:
    manifest = {"data": {"x": "1"}, "ports": [{"port": 1}], "finalizers": ["keep"]}
    assert says_all(manifest, fields) is said
