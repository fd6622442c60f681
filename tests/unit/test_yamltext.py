"""YAML as Kubernetes reads it, and what of it JSON can say."""

from __future__ import annotations

from typing import Any

import pytest

from provision.checkout.jsontext import DEEPEST, as_json
from provision.checkout.yamltext import UNREAD, documents, sourced


@pytest.mark.parametrize(
    ("text", "read"),
    [
        # Each as sigs.k8s.io/yaml 1.6 reads it, by its tables in go.yaml.in/yaml/v2.
        ("0440", 288),
        ("0o440", 288),
        ("-010", -8),
        ("0x1F", 31),
        ("0b11", 3),
        ("1_000", 1000),
        ("+5", 5),
        ("0", 0),
        ("08", 8.0),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("99999999999999999999999", 1e23),
        ("18446744073709551615", 18446744073709551615),
        ("22:22", "22:22"),
        ("1.2.3", "1.2.3"),
        ("2026-11-28", "2026-11-28"),
        ("=", "="),
        ("y", True),
        ("Off", False),
        ("'y'", "y"),
        ("~", None),
    ],
)
def test_a_plain_word_is_what_kubernetes_takes_it_for(text: str, read: object) -> None:
    ((found,),) = documents(f"[{text}]")
    assert (found, type(found)) == (read, type(read))


@pytest.mark.parametrize("text", ["[0b_]", "[!!int a]", "[!!float a]"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(UNREAD):
        documents(text)


def test_each_document_is_of_the_template_named_above_it() -> None:
    text = """---
# Source: web/templates/one.yaml
# of the operator
a: |
  # Source: web/templates/false.yaml
---
b: 1
---
# Source: web/charts/part/crds/two.yaml
c: \u0085 1
---
# Source: web/templates/empty.yaml
"""
    assert [source for _, source in sourced(text)] == [
        "web/templates/one.yaml",
        "",
        "web/charts/part/crds/two.yaml",
    ]


def test_keys_are_text_and_those_without_a_value_are_none() -> None:
    given = {3: None, 4: 1e6, True: {"a": [None, 1.5]}, 2.5: "x", "y": {}}
    assert as_json(given) == {"4": 1000000, "true": {"a": [None, 1.5]}, "2.5": "x", "y": {}}


def circle() -> Any:
    made: list[Any] = []
    made.append({"again": made})
    return made


def many() -> Any:
    made: list[Any] = ["a"] * 10
    for _ in range(9):
        made = [made] * 10
    return made


def deep(levels: int) -> Any:
    made: Any = "a"
    for _ in range(levels):
        made = [made]
    return made


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (circle(), "holds itself"),
        (many(), "make too much of it"),
        (deep(DEEPEST), "deep"),
        ([deep(100), {"a": deep(100)}, deep(5000)], "deep"),
        ({None: 1}, "a key is None"),
        ({(1, 2): 1}, "a key is"),
        ([float("nan")], "no number nan"),
        ([b"bytes"], "no bytes"),
        ([{"a"}], "no set"),
    ],
)
def test_what_json_has_no_word_for(given: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        as_json(given)


def test_a_part_that_stands_in_many_places_is_made_once() -> None:
    part = {"a": 1}
    made = as_json({"one": part, "two": [part]})
    assert made["one"] is made["two"][0]
    assert as_json(deep(DEEPEST - 1)) == deep(DEEPEST - 1)
