"""YAML as data with places, within bounds."""

from pathlib import Path
from typing import Any

import pytest

from provision.errors import ConfigError
from provision.yamlfile import MAX_BYTES, parse_yaml, read_yaml

PATH = Path("site.yaml")
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{below}'] * 9)}]\n"
    for below, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("1:30", "1:30"),
        ("2026-11-23", "2026-11-23"),
        ("2026-99-99", "2026-99-99"),
        ("0755", 755),
        ("0o755", 0o755),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("-7", -7),
        ("1.36", 1.36),
        ("1.36.3", "1.36.3"),
        ("1e3", 1000.0),
        (".inf", float("inf")),
        ("~", None),
        ("null", None),
        ("", None),
        ("=", "="),
        ("'5'", "5"),
        ("02:42:ac:11:00:02", "02:42:ac:11:00:02"),
        ("10.0.0.0/24", "10.0.0.0/24"),
    ],
)
def test_values_are_read_by_the_core_schema(text: str, value: Any) -> None:
    assert parse_yaml(f"key: {text}\n", PATH).data == {"key": value}


@pytest.mark.parametrize("key", ["5", "true", "null", "1.5", "2026-11-23", "no"])
def test_keys_are_always_text(key: str) -> None:
    assert parse_yaml(f"{key}: 1\n", PATH).data == {key: 1}


def test_places_of_keys_and_values() -> None:
    file = parse_yaml("a:\n  b: [x, {c: y}]\nm: {<<: {p: 1, q: 2}, q: 3}\n", PATH)
    assert file.where(("a", "b", 1, "c")) == "site.yaml:2:14"
    assert file.where(("a", "b", 1, "c"), key=True) == "site.yaml:2:11"
    assert file.where(("a", "b", 9)) == "site.yaml:2:6"
    assert file.where(("a", "nonesuch", "deeper")) == "site.yaml:2:3"
    assert file.where(()) == "site.yaml:1:1"
    assert file.data["m"] == {"p": 1, "q": 3}
    assert file.where(("m", "q")) == "site.yaml:3:26"
    assert file.where(("m", "p")) == "site.yaml:3:13"


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("", "site.yaml", "the file is empty"),
        ("# only a comment\n", "site.yaml", "the file is empty"),
        ("a: 1\n\tb: 2\n", "site.yaml:2:1", "found character '\\t'"),
        ("a: [1, 2\nb: 3\n", "site.yaml:2:2", "while parsing a flow sequence"),
        ("a: 'x\n", "site.yaml:2:1", "while scanning a quoted scalar"),
        ("a: 1\n---\nb: 2\n", "site.yaml:2:1", "expected a single document"),
        ("a: *nobody\n", "site.yaml:1:4", "undefined alias"),
        (
            "a: 1\nb: 2\na: 3\n",
            "site.yaml:3:1",
            "the key 'a' stands twice in one mapping, first at line 1",
        ),
        ("a: {x: 1, x: 2}\n", "site.yaml:1:11", "the key 'x' stands twice"),
        ("1: a\n'1': b\n", "site.yaml:2:1", "the key '1' stands twice"),
        ("? [a, b]\n: c\n", "site.yaml:1:3", "a key must be plain text"),
        ("? {a: b}\n: c\n", "site.yaml:1:3", "a key must be plain text"),
        ("a: !!python/object/apply:os.system [true]\n", "site.yaml:1:4", "tags"),
        ("a: !vault x\n", "site.yaml:1:4", "tags"),
        ("a: !!binary aGk=\n", "site.yaml:1:4", "tags"),
        ("a: !!set {x}\n", "site.yaml:1:4", "tags"),
        ("a: {<<: 5}\n", "site.yaml:1:9", "expected a mapping"),
        ("a: \0\n", "site.yaml:1:4", "a character that YAML does not allow"),
        ('a: "\\ud800"\n', "site.yaml:1:4", "half a character"),
        ('"\\udfff": 1\n', "site.yaml:1:1", "half a character"),
        ("a: " + "9" * 5000, "site.yaml:1:4", "the number has 5000 digits"),
        ("a: &a [*a]\n", "site.yaml:1:4", "an alias stands for something that contains it"),
        ("a: &a {b: *a}\n", "site.yaml:1:4", "an alias stands for something that contains it"),
        ("a: &a {<<: *a}\n", "site.yaml:1:4", "an alias stands for something that contains it"),
        (BOMB, "site.yaml:", "aliases unfold to more than 50000 values"),
        ("[" * 10_000, "site.yaml:1:51", "nested deeper than 50 levels"),
        ("[" * 200 + "]" * 200, "site.yaml:1:51", "nested deeper than 50 levels"),
        ("{a: " * 10_000, "site.yaml:1:", "nested deeper than 50 levels"),
        ("- " * 10_000, "site.yaml:1:", "nested deeper than 50 levels"),
        ("? " * 10_000, "site.yaml:1:", "nested deeper than 50 levels"),
        ("- x\n" * 60_000, "site.yaml:50000:", "more than 50000 values"),
    ],
)
def test_what_is_refused_and_where(text: str, where: str, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, PATH)
    assert what in caught.value.what
    assert caught.value.where.startswith(where)
    assert caught.value.fix


@pytest.mark.parametrize(
    "byte", [b"x", b"[", b"\x00", b"\xff", b"'", b"- \n", b"&", b"\n", b"{a: "]
)
def test_ten_megabytes_of_noise_are_refused_unread(tmp_path: Path, byte: bytes) -> None:
    path = tmp_path / "site.yaml"
    path.write_bytes(byte * (10_000_000 // len(byte)))
    with pytest.raises(ConfigError, match="too large to be a site file") as caught:
        read_yaml(path)
    assert caught.value.wanted == f"at most {MAX_BYTES} bytes"


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"\xff\xfea\x00", ":1:1"),
        (b"a: 1\nb: \xe9\n", ":2:4"),
        ("a: 1\nü: ".encode() + b"\xc3\n", ":2:4"),
    ],
)
def test_what_is_not_utf8_is_refused(tmp_path: Path, content: bytes, where: str) -> None:
    path = tmp_path / "site.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="not UTF-8") as caught:
        read_yaml(path)
    assert caught.value.where == f"{path}{where}"


def test_a_byte_order_mark_and_windows_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert read_yaml(path).data == {"a": 1, "b": 2}
