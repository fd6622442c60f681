"""Read an operator's YAML file as plain data that remembers where each value stood.

Values are read by YAML 1.2's core rules, so ``no``, ``1:30`` and ``2026-11-23``
are text, and keys are always text. Everything that could surprise (other tags,
a key twice, endless nesting, aliases that unfold without end) is refused with
its line and column.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from provision.errors import ConfigError

MAX_BYTES = 1024 * 1024
MAX_NODES = 50_000
MAX_DEPTH = 50

Location = tuple[int | str, ...]

_FIX = "correct that line, then: provision check"


@dataclass(frozen=True)
class YamlFile:
    """A parsed file: its data, and the node tree that knows lines and columns."""

    path: Path
    data: Any
    root: yaml.Node

    def where(self, location: Location, *, key: bool = False) -> str:
        """``file:line:column`` of the value at ``location``, or of its nearest parent.

        Parameters
        ----------
        location
            Keys and indices from the top.
        key
            Point at the last key instead of at its value.
        """
        node = self.root
        mark = node.start_mark
        for step in location:
            found = _child(node, step)
            if found is None:
                break
            name, node = found
            mark = (name if key else node).start_mark
        return f"{self.path}:{mark.line + 1}:{mark.column + 1}"


def read_yaml(path: Path) -> YamlFile:
    """Parse ``path``.

    Raises
    ------
    ConfigError
        The file is missing, unreadable, larger than 1 MiB, not YAML, holds a
        key twice, nests deeper than 50 levels, or unfolds through aliases to
        more than 50 000 values.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
            size = path.stat().st_size
        text = content.decode("utf-8-sig") if len(content) <= MAX_BYTES else ""
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode("utf-8")
        raise ConfigError(
            "the file is not UTF-8 text",
            where=f"{path}:{_position(before)}",
            found=f"the byte 0x{error.object[error.start]:02x}",
            fix="save it as UTF-8, or name the right file with --site",
        ) from error
    except OSError as error:
        raise ConfigError(
            "the file cannot be read",
            where=str(path),
            found=error.strerror or str(error),
            fix="name the site file with --site, or write one with: provision init",
        ) from error
    if len(content) > MAX_BYTES:
        raise ConfigError(
            "the file is too large to be a site file",
            where=str(path),
            found=f"{size} bytes",
            wanted=f"at most {MAX_BYTES} bytes",
            fix="name the right file with --site",
        )
    return parse_yaml(text, path)


def parse_yaml(text: str, path: Path) -> YamlFile:
    """Parse ``text`` that came from ``path``; raises as :func:`read_yaml` does."""
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            raise ConfigError(
                "the file is empty",
                where=str(path),
                fix="write one with: provision init",
            )
        _refuse_excess(root)
        data = loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(error, path) from error
    except yaml.reader.ReaderError as error:
        raise ConfigError(
            "the file holds a character that YAML does not allow",
            where=f"{path}:{_position(text[: error.position])}",
            found=f"the character U+{ord(text[error.position]):04X}",
            fix=_FIX,
        ) from error
    return YamlFile(path, data, root)


def _position(before: str) -> str:
    """``line:column`` of what follows the text ``before``."""
    return f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, narrowed to what a site file needs, and bounded."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - replaces what the base class shares
    yaml_constructors = {}  # noqa: RUF012 - likewise

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._count = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Count while composing, so that noise is refused before it takes memory."""
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        self._depth += 1
        self._count += 1
        if self._depth > MAX_DEPTH:
            raise _Refused(f"the file is nested deeper than {MAX_DEPTH} levels", mark)
        if self._count > MAX_NODES:
            raise _Refused(f"the file holds more than {MAX_NODES} values", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping whose keys are text, whatever they look like."""
        self.flatten_mapping(node)
        return {key.value: self.construct_object(value, deep=deep) for key, value in node.value}

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> str:
        """Text that can be written down again: an escape may stand for half a character."""
        text = str(super().construct_scalar(node))
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise _Refused("this text holds half a character (a lone surrogate)", node.start_mark)
        return text

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Resolve ``<<`` only after every key is known to be text."""
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _Refused("a key must be plain text", key.start_mark)
            self.construct_scalar(key)
        super().flatten_mapping(node)

    def whole_number(self, node: yaml.ScalarNode) -> int:
        """An integer in decimal, or with ``0o`` or ``0x`` before it."""
        if len(node.value) > MAX_DIGITS:
            raise _Refused(f"the number has {len(node.value)} digits", node.start_mark)
        prefixed = node.value.lstrip("+-")[:2] in ("0o", "0x")
        return int(node.value, 0 if prefixed else 10)

    def number(self, node: yaml.ScalarNode) -> float:
        """A floating-point number, ``.inf`` and ``.nan`` among them."""
        return float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))

    def truth(self, node: yaml.ScalarNode) -> bool:
        """``true`` or ``false``."""
        return bool(node.value.lower() == "true")


MAX_DIGITS = 40
"""No number of a site file is longer; Python itself takes very long ones for an attack."""


class _Refused(yaml.MarkedYAMLError):
    """What YAML allows and a site file does not."""

    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(problem=problem, problem_mark=mark)


_FLOAT = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"


def _teach(loader: type[_Loader]) -> None:
    """Give ``loader`` the scalars of YAML 1.2's core schema and the merge key, and no more."""
    kinds: dict[str, tuple[str, str, Any]] = {
        "null": (r"~|null|Null|NULL|", "~nN\0", loader.construct_yaml_null),
        "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF", loader.truth),
        "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789", loader.whole_number),
        "float": (
            _FLOAT,
            "-+0123456789.",
            loader.number,
        ),
        "merge": (r"<<", "<", loader.construct_yaml_str),
    }
    for name, (pattern, first, constructor) in kinds.items():
        tag = f"tag:yaml.org,2002:{name}"
        characters = ["" if character == "\0" else character for character in first]
        loader.add_implicit_resolver(tag, re.compile(rf"^(?:{pattern})$"), characters)
        loader.add_constructor(tag, constructor)
    structures: dict[str | None, Any] = {
        "tag:yaml.org,2002:str": loader.construct_yaml_str,
        "tag:yaml.org,2002:seq": loader.construct_yaml_seq,
        "tag:yaml.org,2002:map": loader.construct_yaml_map,
        None: loader.construct_undefined,
    }
    loader.yaml_constructors.update(structures)


_teach(_Loader)


def _not_yaml(error: yaml.MarkedYAMLError, path: Path) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    position = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
    if isinstance(error, _Refused):
        what = str(error.problem)
    elif "could not determine a constructor" in str(error.problem):
        what = "tags (words that begin with '!') have no meaning in a site file"
    else:
        reasons = [part for part in (error.context, error.problem) if part]
        what = f"the file is not YAML: {', '.join(reasons)}"
    begin = error.context_mark
    elsewhere = begin is not None and mark is not None and begin.line != mark.line
    return ConfigError(
        what,
        where=f"{path}{position}",
        found=f"what began at line {begin.line + 1}" if elsewhere and begin else "",
        fix=_FIX,
    )


def _refuse_excess(root: yaml.Node) -> None:
    """Walk the tree as construction would, aliases unfolded, within a budget."""
    budget = MAX_NODES
    stack: list[tuple[yaml.Node, frozenset[int]]] = [(root, frozenset())]
    while stack:
        node, ancestors = stack.pop()
        budget -= 1
        if id(node) in ancestors:
            raise _Refused("an alias stands for something that contains it", node.start_mark)
        if budget < 0:
            raise _Refused(f"aliases unfold to more than {MAX_NODES} values", node.start_mark)
        inner = ancestors | {id(node)}
        if isinstance(node, yaml.MappingNode):
            _refuse_duplicate_keys(node)
            stack.extend((value, inner) for pair in node.value for value in pair)
        elif isinstance(node, yaml.SequenceNode):
            stack.extend((item, inner) for item in node.value)


def _refuse_duplicate_keys(node: yaml.MappingNode) -> None:
    seen: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        if key.value in seen:
            raise _Refused(
                f"the key {key.value!r} stands twice in one mapping,"
                f" first at line {seen[key.value] + 1}",
                key.start_mark,
            )
        seen[key.value] = key.start_mark.line


def _child(node: yaml.Node, step: int | str) -> tuple[yaml.Node, yaml.Node] | None:
    """The key and the value at ``step``; of a list, the item twice."""
    if isinstance(node, yaml.MappingNode):
        # What a merge brought stands in front and is overridden by what follows.
        for key, value in reversed(node.value):
            if isinstance(key, yaml.ScalarNode) and key.value == str(step):
                return key, value
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
        items: Sequence[yaml.Node] = node.value
        return (items[step], items[step]) if 0 <= step < len(items) else None
    return None
