"""Facts and a site as data, for ``tests/cases/<phase>/*.yaml``: what does the phase decide?

A file is a list of cases::

    - case: what it shows
      site: {machine: {swap: true}}       # laid over a site of n1, n2, n3 (control plane), n4
      virgin: [n4]                        # machines that have nothing of the phase's
      unreachable: [n3]
      machines:                           # what else differs from the phase's own state
        n1: {sysctls: {vm.max_map_count: "65530"}}
      cluster: {reachable: true}          # fields of ClusterFacts; not asked by default
      objects: {ConfigMap ns/x: [data.y]} # objects that are there, with what differs; or `all`
      applied: {ConfigMap: [x, y]}        # names of all that we applied of the kinds it keeps whole
      service: {keys: usable}             # what the component's own service told
      decision: run                       # run, skip, blocked or unknown
      attention: "Vault is sealed"        # of skip: how what a person has to do begins
      reasons: {n1: ["sysctl vm.max_map_count is 65530, wanted 262144"]}
      waves: [[n1]]                       # optional
      findings: [...]                     # of blocked

An optional component is always in its own cases' site, with the settings of ``settings.yml``
beside them, or none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml

from provision import manifests
from provision.bundle.catalog import catalog
from provision.errors import UnreachableError
from provision.facts import ClusterFacts, Facts, MachineFacts, ObjectState, Query
from provision.phase import AnsiblePhase, Context, Phase, StoredFile
from provision.plan import discover
from provision.site import Site, site_model
from provision.state import DesiredState
from tests.support import postgresql
from tests.support.catalog_bundle import file_made

SITE: Mapping[str, Any] = {
    "name": "unit",
    "network": {"machines": "192.0.2.0/24"},
    "hosts": {
        "n1": {"address": "192.0.2.1", "parts": ["control_plane", "worker"]},
        "n2": {"address": "192.0.2.2", "parts": ["control_plane", "worker"]},
        "n3": {"address": "192.0.2.3", "parts": ["control_plane", "worker"]},
        "n4": {"address": "192.0.2.4", "parts": ["worker"]},
    },
    "api_endpoint": {"address": "192.0.2.100"},
    "kubernetes": {"version": "1.36.3"},
}


NO_NAME: Mapping[str, Any] = {"status": "NXDOMAIN", "values": [], "ttl": 0, "alias": ""}
"""What a name server answers that does not know a name."""


class EveryBundle:
    """A bundle that has every file; a file's digest follows from its name.

    ``folder`` is where ``helm`` is made when it is asked for.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder

    digest = "sha256:" + "b" * 64
    versions: ClassVar[Mapping[str, str]] = (
        catalog().select("1.36.3", "amd64", requested=catalog().on_request()).versions
    )
    images: ClassVar[Mapping[str, str]] = {
        "registry.k8s.io/pause:3.10.2": "sha256:" + "1" * 64,
        "docker.io/library/busybox:1.35": "sha256:" + "2" * 64,
    }

    def sha256(self, name: str, architecture: str) -> str:
        return hashlib.sha256(f"{name} {architecture}".encode()).hexdigest()

    def path(self, name: str, architecture: str) -> Path:
        if self.folder is None:
            raise FileNotFoundError(name, architecture)
        return file_made(self.folder, name)

    def blob(self, sha256: str) -> Path:
        raise FileNotFoundError(sha256)

    def depot_tree(self) -> Sequence[StoredFile]:
        return ()


class EverySecret:
    """A store that has every secret; its digest follows from its name."""

    def sha256(self, name: str) -> str | None:
        return hashlib.sha256(name.encode()).hexdigest()

    def certificate(self, name: str) -> str | None:
        return f"certificate of {name}\n"


CASES = Path(__file__).parents[1] / "cases"


def make_site(changes: Mapping[str, Any], *components: str) -> Site:
    """The cases' site with ``changes`` laid over it.

    Of optional components it has those named in ``components`` or in ``changes``.
    """
    model = site_model([phase.settings for phase in discover()])
    chosen = {name: sample_settings(name) for name in components}
    return model.model_validate(overlay({**SITE, **chosen}, changes))


def optional_components() -> tuple[str, ...]:
    """Names of the components that a site has only where it says so."""
    return tuple(phase.name for phase in discover() if phase.settings.optional)


def sample_settings(name: str) -> Mapping[str, Any]:
    """Settings for an optional component: those of ``tests/cases/NAME/settings.yml``, or none."""
    path = CASES / name / "settings.yml"
    return yaml.safe_load(path.read_text("utf-8")) if path.exists() else {}


def make_context(site: Site, folder: Path | None = None) -> Context:
    """A context in which every file and every secret is there.

    A chart is one ConfigMap, where there is a ``folder`` to render it in.
    """
    return Context(site, EveryBundle(folder), EverySecret())


def overlay(base: Any, changes: Any) -> Any:
    """``changes`` laid over ``base``, mapping by mapping."""
    if not isinstance(base, Mapping) or not isinstance(changes, Mapping):
        return changes
    merged = {name: overlay(value, changes.get(name, value)) for name, value in base.items()}
    return {**merged, **{name: changes[name] for name in changes if name not in base}}


@dataclass(frozen=True)
class Machine:
    """What the reader answers for a machine in a given relation to a state."""

    query: Query
    state: DesiredState

    def as_wanted(self) -> dict[str, Any]:
        """Everything is as the state says."""
        files: dict[str, Any] = dict.fromkeys(self.query.files)
        for directory in self.state.directories:
            files[directory.path] = {"type": "directory", **_permissions(directory)}
        for file in self.state.files:
            files[file.path] = {"type": "file", "sha256": file.sha256, **_permissions(file)}
        units = {name: _unit(enabled=False, active=False) for name in self.query.units}
        for unit in self.state.units:
            units[unit.name] = _unit(enabled=unit.enabled, active=unit.active)
        return {
            **self.virgin(),
            "packages": dict.fromkeys(self.query.packages, "1.0"),
            "modules": dict.fromkeys(self.query.modules, True),
            "sysctls": dict(self.state.sysctls),
            "files": files,
            "units": units,
        }

    def virgin(self) -> dict[str, Any]:
        """Nothing is there."""
        return {
            "packages": dict.fromkeys(self.query.packages),
            "modules": dict.fromkeys(self.query.modules, False),
            "sysctls": dict.fromkeys(self.query.sysctls, "0"),
            "files": dict.fromkeys(self.query.files),
            "texts": dict.fromkeys(self.query.texts),
            "globs": {pattern: [] for pattern in self.query.globs},
            "units": {
                name: {**_unit(enabled=False, active=False), "state": "not found"}
                for name in self.query.units
            },
            "connect": dict.fromkeys(self.query.connect, True),
            "names": dict.fromkeys(self.query.names, NO_NAME),
            "postgresql": dict.fromkeys(self.query.postgresql, postgresql.ABSENT),
            "system": {},
        }


def read(phase: Phase, context: Context, case: Mapping[str, Any]) -> Facts:
    """The facts of a case."""
    machines = {}
    for host in phase.hosts(context):
        if host in case.get("unreachable", ()):
            machines[host] = MachineFacts(host, error=UnreachableError("no route", where=host))
            continue
        state = phase.desired(context, host) if isinstance(phase, AnsiblePhase) else DesiredState()
        machine = Machine(phase.query(context, host), state)
        base = machine.virgin() if host in case.get("virgin", ()) else machine.as_wanted()
        if machine.query.postgresql and host not in case.get("virgin", ()):
            told = postgresql.as_wanted(context.site, host)
            base["postgresql"] = dict.fromkeys(machine.query.postgresql, told)
        machines[host] = MachineFacts(host, overlay(base, case.get("machines", {}).get(host, {})))
    return Facts(machines, _cluster(phase, context, case), _services(phase, context, case))


def _services(
    phase: Phase, context: Context, case: Mapping[str, Any]
) -> Mapping[str, Mapping[str, Any]]:
    """What the component's own service told; ``{"as": NAME}`` stands for what was asked for."""
    asked = phase.service(context)
    if asked is None or "service" not in case:
        return {}
    told = case["service"]
    return {
        phase.name: {
            key: overlay(asked.arguments[value["as"]], value.get("but", {}))
            if isinstance(value, Mapping) and "as" in value
            else value
            for key, value in told.items()
        }
    }


def _cluster(phase: Phase, context: Context, case: Mapping[str, Any]) -> ClusterFacts:
    if "objects" not in case:
        return ClusterFacts(**case.get("cluster", {"reachable": False}))
    present = case["objects"]
    if present == "all":
        present = {manifests.key(item): [] for item in phase.objects(context)}
    states = {name: ObjectState(exists=True, differences=why) for name, why in present.items()}
    applied = {
        kind: case.get("applied", {}).get(kind.kind, ()) for kind in phase.whole_kinds(context)
    }
    return ClusterFacts(reachable=True, **case.get("cluster", {}), objects=states, applied=applied)


def _permissions(entry: Any) -> dict[str, str]:
    return {"mode": entry.mode, "owner": entry.owner, "group": entry.group}


def _unit(*, enabled: bool, active: bool) -> dict[str, Any]:
    state = "active" if active else "inactive"
    return {"enabled": enabled, "active": active, "state": state, "restart_pending": False}
