"""Values out of YAML as the API server gets them: what JSON can say. Pure."""

from __future__ import annotations

import math
from typing import Any

DEEPEST = 150
"""Levels of an object that is handed on: far more than any has, few enough for Python's stack."""
LARGEST = 1_000_000
"""Values of an object that is handed on: aliases make very many of a few lines."""
_EXPONENT = 1e21
"""From here on, Go writes a number with an exponent (encoding/json)."""


def as_json(item: Any) -> Any:
    """``item`` as the API server gets it: keys are text, and a key without a value is none.

    Raises
    ------
    ValueError
        It holds itself, more than :data:`LARGEST` values, or what JSON has no word for.
    """
    return _Jsonified().of(item)


class _Jsonified:
    """Mappings and lists by identity: aliases make one of them part of many."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[Any, int, int]] = {}
        self._within: set[int] = set()

    def of(self, item: Any) -> Any:
        made, size, depth = self._of(item, 1)
        if size > LARGEST:
            raise ValueError("its aliases make too much of it")
        if depth > DEEPEST:
            raise ValueError(f"it is more than {DEEPEST} levels deep")
        return made

    def _of(self, item: Any, level: int) -> tuple[Any, int, int]:
        """What becomes of ``item``, its number of values and of levels."""
        if item is None or isinstance(item, str | bool | int):
            return item, 1, 1
        if isinstance(item, float):
            if not math.isfinite(item):
                raise ValueError(f"JSON has no number {item}")
            # As Go writes it: helm makes 1e+06 of a number of its values, where 1000000 is meant.
            whole = item.is_integer() and abs(item) < _EXPONENT
            return int(item) if whole else item, 1, 1
        if not isinstance(item, dict | list):
            raise ValueError(f"JSON has no {type(item).__name__}")  # noqa: TRY004 - as for all values
        if id(item) in self._within or level > DEEPEST:
            raise ValueError("it holds itself, or is too deep")
        if id(item) not in self._made:
            self._within.add(id(item))
            self._made[id(item)] = self._children(item, level + 1)
            self._within.remove(id(item))
        return self._made[id(item)]

    def _children(self, item: dict[Any, Any] | list[Any], level: int) -> tuple[Any, int, int]:
        made: Any
        if isinstance(item, dict):
            parts = {
                _key(key): self._of(value, level)
                for key, value in item.items()
                if value is not None
            }
            made = {key: value for key, (value, _, _) in parts.items()}
            sizes = list(parts.values())
        else:
            sizes = [self._of(value, level) for value in item]
            made = [value for value, _, _ in sizes]
        size = 1 + sum(one for _, one, _ in sizes)
        return made, size, 1 + max((one for _, _, one in sizes), default=0)


def _key(key: object) -> str:
    """A key as sigs.k8s.io/yaml makes text of it."""
    if isinstance(key, bool):
        return str(key).lower()
    if isinstance(key, float):
        return f"{key:g}"
    if not isinstance(key, str | int):
        raise ValueError(f"a key is {key!r}")  # noqa: TRY004 - as for all values
    return str(key)
