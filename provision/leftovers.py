"""Components that machines still have and the site file does not name any more."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic import ValidationError

from provision.errors import FindingsError
from provision.facts import Facts, MachineFacts, Query
from provision.phase import Context, Phase
from provision.site import Site
from provision.state import memory_of


@dataclass(frozen=True)
class Leftover:
    """One such component."""

    name: str
    settings: Mapping[str, Any]
    """What it was set to when it was last kept."""
    hosts: Sequence[str]
    """Machines that remember it."""
    data: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What would be lost, and on which machines it is."""

    def row(self) -> str:
        """One line for people."""
        kept = "; ".join(f"{what} on {', '.join(hosts)}" for what, hosts in self.data.items())
        holds = f"; it holds {kept}" if kept else ""
        return (
            f"{self.name} is not in the site file any more, and on {', '.join(self.hosts)}{holds}"
        )

    @property
    def command(self) -> str:
        """What takes it off."""
        return "provision up --prune" + (f" --with-data {self.name}" if self.data else "")

    def as_dict(self) -> dict[str, Any]:
        """Plain data for ``--json`` and the journal."""
        return {
            "hosts": list(self.hosts),
            "data": {what: list(on) for what, on in self.data.items()},
        }


def query(site: Site, phases: Sequence[Phase]) -> Query:
    """What tells of components that ``site`` does not have, out of all ``phases``."""
    return Query(
        texts=frozenset(memory_of(phase.name) for phase in phases if not phase.enabled(site))
    )


def leftovers(site: Site, phases: Sequence[Phase], facts: Facts) -> tuple[Leftover, ...]:
    """What machines remember, in the order in which it can be taken off: the last phase first.

    Raises
    ------
    FindingsError
        What a machine remembers cannot be read.
    """
    found = []
    for phase in reversed(phases):
        if phase.enabled(site):
            continue
        texts = {
            name: machine.observed["texts"].get(memory_of(phase.name))
            for name, machine in facts.machines.items()
            if machine.reachable
        }
        hosts = [name for name, text in texts.items() if text is not None]
        if hosts:
            text = cast("str", texts[hosts[0]])
            found.append(Leftover(phase.name, _settings(text, phase, hosts[0]), hosts))
    return tuple(found)


def with_leftover(site: Site, phase: Phase, leftover: Leftover) -> Site:
    """The site as it was when it still had the component.

    Raises
    ------
    FindingsError
        The settings that it was made with are none that this version knows, or do not fit the
        site as it is now: they may name a machine that is gone.
    """
    try:
        settings = phase.settings.model_validate(leftover.settings)
    except ValidationError as error:
        raise _unreadable(phase, leftover.hosts[0], str(error.errors()[0]["msg"])) from error
    former = site.model_copy(update={phase.settings.component: settings})
    for problem in phase.validate_site(former):
        raise _unreadable(phase, leftover.hosts[0], problem)
    return former


def data_queries(context: Context, phase: Phase) -> dict[str, Query]:
    """What to read to know whether the component holds data, on all machines that it was on."""
    return {
        host: Query(globs=frozenset(phase.data(context, host))) for host in phase.hosts(context)
    }


def data_found(
    context: Context, phase: Phase, machines: Mapping[str, MachineFacts]
) -> dict[str, list[str]]:
    """Machines by what they keep; a machine that does not answer counts as one that does."""
    found: dict[str, list[str]] = {}
    for host, facts in machines.items():
        for pattern, what in phase.data(context, host).items():
            if not facts.reachable or facts.observed["globs"][pattern]:
                found.setdefault(what, []).append(host)
    return found


def refusals(found: Sequence[Leftover], with_data: Sequence[str]) -> Iterator[str]:
    """Why components cannot be taken off: they hold data and nobody named them."""
    for leftover in found:
        if leftover.data and leftover.name not in with_data:
            yield leftover.row()


def _settings(text: str, phase: Phase, host: str) -> Mapping[str, Any]:
    try:
        settings = json.loads(text)
    except ValueError as error:
        raise _unreadable(phase, host, str(error)) from error
    if not isinstance(settings, dict):
        raise _unreadable(phase, host, "no settings")
    return settings


def _unreadable(phase: Phase, host: str, found: str) -> FindingsError:
    return FindingsError(
        f"what {phase.name} was set to cannot be used, and it is not in the site file any more",
        where=f"{host}: {memory_of(phase.name)}",
        found=found,
        fix=f"put {phase.name} back into the site file, then: provision up",
    )
