"""Where two versions of an object differ."""

from __future__ import annotations

from provision.compare import differing_fields
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
