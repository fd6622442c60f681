"""What a commit is, beside what was applied last: repairs, additions, or changes to approve."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from provision.site import Site

Tree = Mapping[str, Any]


class Kind(StrEnum):
    """What a commit would have done."""

    REPAIRS = "repairs"
    """The site file says what it said: whatever differs on machines is put right."""
    ADDITIONS = "additions"
    """The site file says something more, and nothing otherwise."""
    CHANGES = "changes"


@dataclass(frozen=True)
class Difference:
    """How two site files differ, by key paths; values may be nobody's business."""

    added: tuple[str, ...] = ()
    """Machines and optional components that are new."""
    other: tuple[str, ...] = ()
    """Everything else, each with the word that says what: ``changed``, ``removed``, ``new``."""

    @property
    def kind(self) -> Kind:
        """The least that covers it all."""
        if self.other:
            return Kind.CHANGES
        return Kind.ADDITIONS if self.added else Kind.REPAIRS


def effective(site: Site) -> Tree:
    """What a site file means: defaults filled in, each machine's connection as it is used.

    Of a connection it counts which fields are set, which no dump of the settings tells.
    """
    tree = site.model_dump(mode="json")
    for name, host in tree["hosts"].items():
        host["connection"] = site.connection_of(name).model_dump(mode="json")
    return tree


def difference(old: Tree, new: Tree, optional: Collection[str]) -> Difference:
    """How ``new`` differs from ``old``.

    Only a new machine and a new optional component are additions. A key that is new elsewhere
    changes what its default was.

    Parameters
    ----------
    old, new
        What :func:`effective` gives.
    optional
        Keys of components that a site has only where their key stands.
    """
    added: list[str] = []
    other: list[str] = []
    for key in [*old, *(key for key in new if key not in old)]:
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if key == "hosts" and isinstance(before, Mapping) and isinstance(after, Mapping):
            added += [f"hosts.{name}" for name in after if name not in before]
            common = {name: after[name] for name in after if name in before}
            other += _words(before, common, "hosts")
        elif key in optional and before is None:
            added.append(key)
        else:
            other += _words({key: before}, {key: after}, "")
    return Difference(tuple(added), tuple(other))


def _words(old: Tree, new: Tree, above: str) -> Iterator[str]:
    """Every difference in words, as deep as both are mappings."""
    for key in [*old, *(key for key in new if key not in old)]:
        path = f"{above}.{key}" if above else str(key)
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _words(before, after, path)
        elif after is None:
            yield f"{path} removed"
        elif before is None:
            yield f"{path} new"
        else:
            yield f"{path} changed"
