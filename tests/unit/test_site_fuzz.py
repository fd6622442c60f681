"""Whatever stands in a site file, reading it gives a Site or one clear ConfigError."""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from provision.errors import ConfigError
from provision.site import Site
from tests.support.sites import SITE, load

# The same examples at each run, so that a failure is a change's; nothing is kept in the checkout.
settings.register_profile(
    "site",
    deadline=None,
    database=None,
    derandomize=True,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("site")

GOOD: dict[str, Any] = yaml.safe_load(SITE)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["10.0.0.11", "10.0.0.0/24", "fd00::/8", "control_plane", "worker", "n1"]),
)
KEYS = st.sampled_from(
    ["name", "hosts", "address", "parts", "network", "machines", "pods", "engine", "speed", "lamp"]
) | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=15,
)


def judge(content: bytes) -> None:
    """The one property: a Site, or an error that says where, what and how to go on."""
    with TemporaryDirectory() as folder:
        try:
            read: Site | ConfigError = load(Path(folder), content).site
        except ConfigError as error:
            read = error
    if isinstance(read, ConfigError):
        assert read.what
        assert read.fix
        assert read.where.startswith(folder)
        shown = str(read)
        shown.encode()
        assert all(character.isprintable() or character == "\n" for character in shown)
        assert len(shown) < 20_000
    else:
        assert len(read.digest) == 64


def paths(data: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [prefix] if prefix else []
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(data, dict):
        items = data.items()
    elif isinstance(data, list):
        items = enumerate(data)
    for key, value in items:
        found += paths(value, (*prefix, key))
    return found


def replaced(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = dict(data) if isinstance(data, dict) else list(data)
    copy[path[0]] = replaced(copy[path[0]], path[1:], value)
    return copy


@given(st.binary(max_size=400))
@example(b"")
@example(b"\xef\xbb\xbf")
@example(b"%YAML 9.9\n---\na: 1\n")
@example(b"%TAG ! !\n")
@example(b"&a")
@example(b"<<: {}\n")
def test_any_bytes(content: bytes) -> None:
    judge(content)


@given(st.text(alphabet="abn:{}[]&*<>|!-?#%@'\",.~ \t\n\\0159/x\u2028\u202e\x85\x1b", max_size=120))
def test_any_text_that_looks_like_yaml(text: str) -> None:
    judge(text.encode())


@given(VALUES)
def test_any_data(data: Any) -> None:
    judge(yaml.safe_dump(data, allow_unicode=True).encode("utf-8", "surrogatepass"))


@given(st.sampled_from(paths(GOOD)), VALUES)
@settings(max_examples=150)
def test_a_site_with_any_one_value_replaced(path: tuple[Any, ...], value: Any) -> None:
    judge(yaml.safe_dump(replaced(GOOD, path, value)).encode("utf-8", "surrogatepass"))


@given(st.sampled_from(paths(GOOD)[:-1]), KEYS, VALUES)
def test_a_site_with_any_one_key_added(path: tuple[Any, ...], key: str, value: Any) -> None:
    parent: Any = GOOD
    for step in path:
        parent = parent[step]
    if isinstance(parent, dict):
        judge(yaml.safe_dump(replaced(GOOD, path, {**parent, key: value})).encode())


@given(st.data())
def test_a_site_with_any_bytes_flipped(data: st.DataObject) -> None:
    content = bytearray(SITE.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        index = data.draw(st.integers(0, len(content) - 1))
        content[index] = data.draw(st.integers(0, 255))
    judge(bytes(content))


@given(st.integers(0, len(SITE)), st.integers(0, len(SITE)))
def test_a_site_with_any_part_cut_out(start: int, end: int) -> None:
    judge((SITE[:start] + SITE[end:]).encode())


@given(
    st.integers(1, 2000),
    st.sampled_from(["[", "{a: ", "- ", "? ", "a: &a [*a, ", '"', "*a ", "!x "]),
)
def test_any_depth(depth: int, opening: str) -> None:
    judge((opening * depth).encode())
    judge((SITE.replace("speed: 5", "speed: 5, values: {x: " + opening * depth)).encode())


@given(st.integers(2, 12), st.integers(2, 12))
def test_any_bomb(width: int, height: int) -> None:
    lines = ["a0: &a0 [x]"]
    lines += [
        f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * width)}]"
        for level in range(1, height)
    ]
    judge(("\n".join(lines) + "\n").encode())
