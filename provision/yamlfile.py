"""Read an operator's YAML file as plain data that remembers where each value stood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from provision.errors import ConfigError

MAX_BYTES = 1024 * 1024
MAX_NODES = 50_000

Location = tuple[int | str, ...]


@dataclass(frozen=True)
class YamlFile:
    """A parsed file: its data, and the node tree that knows lines and columns."""

    path: Path
    data: Any
    root: yaml.Node

    def where(self, location: Location) -> str:
        """``file:line:column`` of the value at ``location``, or of its nearest parent."""
        node = self.root
        for step in location:
            child = _child(node, step)
            if child is None:
                break
            node = child
        mark = node.start_mark
        return f"{self.path}:{mark.line + 1}:{mark.column + 1}"


def read_yaml(path: Path) -> YamlFile:
    """Parse ``path``.

    Raises
    ------
    ConfigError
        The file is missing, unreadable, larger than 1 MiB, not YAML, holds a
        key twice, or unfolds through aliases to more than 50 000 values.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ConfigError(
                "the file is too large to be a site file",
                where=str(path),
                found=f"{size} bytes",
                wanted=f"at most {MAX_BYTES} bytes",
                fix="name the right file with --site",
            )
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            "the file is not UTF-8 text", where=str(path), found=f"byte {error.start} is not UTF-8"
        ) from error
    except OSError as error:
        raise ConfigError(
            "the file cannot be read",
            where=str(path),
            found=error.strerror or str(error),
            fix="name the site file with --site, or write one with: provision init",
        ) from error
    return parse_yaml(text, path)


def parse_yaml(text: str, path: Path) -> YamlFile:
    """Parse ``text`` that came from ``path``; raises as :func:`read_yaml` does."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is None:
            raise ConfigError("the file is empty", where=str(path), fix="provision init")
        _refuse_excess(root, path)
        data = yaml.SafeLoader("").construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigError(
            f"the file is not YAML: {error.problem or error.context}", where=f"{path}{position}"
        ) from error
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(f"the file is not YAML: {reason}", where=str(path)) from error
    return YamlFile(path, data, root)


def _refuse_excess(root: yaml.Node, path: Path) -> None:
    """Walk the tree as construction would, aliases unfolded, within a budget."""
    budget = MAX_NODES
    stack: list[tuple[yaml.Node, frozenset[int]]] = [(root, frozenset())]
    while stack:
        node, ancestors = stack.pop()
        budget -= 1
        if budget < 0 or id(node) in ancestors:
            raise ConfigError(
                "the file unfolds to more values than a site file can hold",
                where=str(path),
                wanted=f"at most {MAX_NODES} values, no alias that contains itself",
            )
        inner = ancestors | {id(node)}
        if isinstance(node, yaml.MappingNode):
            _refuse_duplicate_keys(node, path)
            stack.extend((value, inner) for pair in node.value for value in pair)
        elif isinstance(node, yaml.SequenceNode):
            stack.extend((item, inner) for item in node.value)


def _refuse_duplicate_keys(node: yaml.MappingNode, path: Path) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            if key.value in seen:
                mark = key.start_mark
                raise ConfigError(
                    f"the key {key.value!r} stands twice in one mapping",
                    where=f"{path}:{mark.line + 1}:{mark.column + 1}",
                    fix="remove one of the two",
                )
            seen.add(key.value)


def _child(node: yaml.Node, step: int | str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == str(step):
                return cast("yaml.Node", value)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
        items: Sequence[yaml.Node] = node.value
        return items[step] if 0 <= step < len(items) else None
    return None
