"""A phase: one component's part of the way from the site to the cluster.

A phase says what to read (:meth:`Phase.query`, :meth:`Phase.objects`), judges
what was read (:meth:`Phase.decide`, pure), and names the effect and the gates
that make it true. :class:`AnsiblePhase` is the usual kind: a role with a
``state.yml``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol

from provision.dns.offers import Forward, Name
from provision.facts import Facts, Query, ServiceQuery, query_for
from provision.manifests import KindIn
from provision.openings import Opening
from provision.paths import roles_path
from provision.secretspec import SecretSpec
from provision.site import Settings, Site
from provision.state import DesiredState, desired_state, differences
from provision.vault.configuration import Configuration

Manifest = Mapping[str, Any]
"""A Kubernetes object as plain data."""


class StoredFile(Protocol):
    """One file of a depot's storage: a blob of the bundle, or a few bytes of its own."""

    @property
    def path(self) -> str:
        """Below the root directory of the depot's registry."""

    @property
    def sha256(self) -> str:
        """The blob that is its content; empty when ``content`` is."""

    @property
    def size(self) -> int:
        """In bytes."""

    @property
    def content(self) -> bytes:
        """What a file holds that is no blob."""


class BundleView(Protocol):
    """What phases may know of the bundle: names, versions and digests."""

    @property
    def digest(self) -> str:
        """Digest of the bundle's lock, ``sha256:…``."""

    def depot_tree(self) -> Sequence[StoredFile]:
        """Everything that a depot's storage must hold to serve the bundle."""

    def blob(self, sha256: str) -> Path:
        """Where a blob lies on the controller."""

    @property
    def versions(self) -> Mapping[str, str]:
        """Version by component."""

    def sha256(self, name: str, architecture: str) -> str:
        """sha256 of the plain file ``name`` for one architecture."""

    def path(self, name: str, architecture: str) -> Path:
        """Where the plain file ``name`` lies on the controller."""

    @property
    def images(self) -> Mapping[str, str]:
        """Digest by image reference."""


class SecretFolder(Protocol):
    """The site's secrets, for what outlives the component that it belonged to."""

    def read(self, name: str) -> bytes:
        """The content of a secret."""

    def names(self) -> list[str]:
        """Names of all secrets."""

    def put(self, name: str, content: bytes) -> None:
        """Keep a secret durably, in one step."""


class SecretView(Protocol):
    """What phases may know of the secret store: digests, and certificates, which are no secrets."""

    def sha256(self, name: str) -> str | None:
        """sha256 of a secret, or None while it has to be made or renewed."""

    def certificate(self, name: str) -> str | None:
        """The certificate of an authority, in PEM form, or None while there is none."""


@dataclass(frozen=True)
class Context:
    """What a decision rests on besides facts."""

    site: Site
    bundle: BundleView
    secrets: SecretView
    rendered: dict[tuple[str, str], DesiredState] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """States by phase and machine; what is read and what is judged is rendered once."""


@dataclass(frozen=True)
class Run:
    """The phase has work to do.

    ``reasons`` says why, by machine; ``waves`` are the machines in the order
    they must be worked on, those of one wave together.
    """

    reasons: Mapping[str, Sequence[str]]
    waves: Sequence[Sequence[str]] = ()
    variables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Variables by machine that follow from this decision (who initialises, who joins)."""
    lead: str = ""
    """The machine that does for all what is done once, if there is such work: where it fails, there
    is nothing to wait for on the others."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """The machines that the phase will touch, in order."""
        ordered = [name for wave in self.waves for name in wave]
        return tuple(ordered or self.reasons)


@dataclass(frozen=True)
class Skip:
    """There is nothing that the phase could do."""

    reason: str
    attention: str = ""
    """What a person has to do before the component serves. ``status`` calls it not healthy;
    nothing else stops for it."""


@dataclass(frozen=True)
class Blocked:
    """The phase must not run; each finding says why and what to do."""

    findings: Sequence[str]


@dataclass(frozen=True)
class Unknown:
    """Cannot be judged before another phase ran."""

    until: str
    found: str = ""
    """What kept it from being judged."""
    gate: GateSpec | None = None
    """What to wait for where all phases that it comes after ran, and something that they made
    does not answer for a moment."""


Decision = Run | Skip | Blocked | Unknown


@dataclass(frozen=True)
class GateSpec:
    """A condition to wait for after the effect, by its registered name.

    ``gates.py`` knows the conditions; ``seconds`` is the deadline, after which the
    operator is told to run ``fix``.
    """

    condition: str
    seconds: float
    arguments: Mapping[str, Any] = field(default_factory=dict)
    fix: str = "provision status"


class Phase(ABC):
    """One component. Subclasses are discovered in ``provision/phases``."""

    name: ClassVar[str]
    """Also the name of the role, the playbook, the docs page and the settings' key."""
    after: ClassVar[tuple[str, ...]] = ()
    """Phases that must be through before this one starts."""
    settings: ClassVar[type[Settings]]
    """The component's settings in the site file."""
    bundled: ClassVar[tuple[str, ...]] = ()
    """Components of the bundle's catalog that are there for this component's sake; a bundle for a
    site that has none of those who name it is built without it."""

    def enabled(self, site: Site) -> bool:
        """Whether the site has the component; without it nothing else here is asked."""
        return site.has(self.settings)

    def hosts(self, context: Context) -> tuple[str, ...]:
        """The machines that the component concerns; all by default."""
        return tuple(context.site.hosts)

    def validate_site(self, site: Site) -> Iterator[str]:
        """What is wrong with the site as this component sees it, one sentence each."""
        return iter(())

    def on_request(self, site: Site) -> tuple[str, ...]:
        """What it takes on ``site`` that a bundle has only on request (``bundle build --with``)."""
        del site
        return ()

    def secrets(self, site: Site) -> Sequence[SecretSpec]:
        """Secrets that must exist before the effect runs."""
        return ()

    def taken_off(self, store: SecretFolder) -> str:
        """Called when the component is off every machine; says what became of its secrets."""
        del store
        return ""

    @abstractmethod
    def query(self, context: Context, host: str) -> Query:
        """What to read on ``host``."""

    def objects(self, context: Context) -> Sequence[Manifest]:
        """Kubernetes objects that the component keeps in the cluster."""
        return ()

    def whole_kinds(self, context: Context) -> Sequence[KindIn]:
        """Kinds of which the component keeps no other objects than :meth:`objects` names.

        What we applied of them and what is named no more has to go.
        """
        del context
        return ()

    def service(self, context: Context) -> ServiceQuery | None:
        """What to ask the component's own service, outside the cluster."""
        return None

    @abstractmethod
    def decide(self, context: Context, facts: Facts) -> Decision:
        """Judge the facts. Pure: no reading, no clock, no randomness."""

    @abstractmethod
    def variables(self, context: Context, host: str) -> Mapping[str, Any]:
        """Variables of the role for ``host``, every name prefixed with the role's."""

    def openings(self, site: Site) -> Sequence[Opening]:
        """Ports that the component needs open in the machines' firewall."""
        return ()

    def names(self, site: Site) -> Sequence[Name]:
        """Names in the site's zone that stand for addresses of the component."""
        return ()

    def api_names(self, site: Site) -> Sequence[str]:
        """Names by which others reach the Kubernetes API; its certificate must hold them."""
        return ()

    def forwards(self, site: Site) -> Sequence[Forward]:
        """Zones that cluster DNS has to ask other servers for."""
        return ()

    def in_vault(self, site: Site) -> Configuration:
        """What the component wants the site's own Vault to hold, where the site has one."""
        del site
        return {}

    def remembered(self, site: Site) -> Mapping[str, Any]:
        """The settings of an optional component under its name, for the machines to keep."""
        if not self.settings.optional:
            return {}
        return {self.name: site.settings(self.settings).model_dump(mode="json", by_alias=True)}

    def data(self, context: Context, host: str) -> Mapping[str, str]:
        """Where ``host`` keeps what nobody could make again: what it is, by a pattern of paths.

        There is some as soon as one path fits.
        """
        del context, host
        return {}

    def common_variables(self, context: Context) -> Mapping[str, Any]:
        """Variables that every role on every machine may rely on, named ``provision_*``."""
        return {}

    def gates(self, context: Context, hosts: Sequence[str]) -> Sequence[GateSpec]:
        """Conditions that must hold after the effect ran on ``hosts``."""
        return ()


class AgreementPhase(Phase):
    """A component that the site agrees on with others: settings to judge, nothing on machines."""

    def hosts(self, context: Context) -> tuple[str, ...]:
        """No machine."""
        del context
        return ()

    def query(self, context: Context, host: str) -> Query:
        """Nothing."""
        del context, host
        return Query()

    def decide(self, context: Context, facts: Facts) -> Decision:
        """There is nothing to run."""
        del context, facts
        return Skip("nothing of it is on machines")

    def variables(self, context: Context, host: str) -> Mapping[str, Any]:
        """None, since there is no role."""
        del context, host
        return {}


class AnsiblePhase(Phase):
    """A phase whose effect is its playbook, and whose state is its role's ``state.yml``."""

    @cached_property
    def role(self) -> Path:
        """The role's folder."""
        return roles_path() / self.name

    def desired(self, context: Context, host: str) -> DesiredState:
        """The role's state for one machine."""
        known = context.rendered.get((self.name, host))
        if known is not None:
            return known
        variables = {
            **self.variables(context, host),
            "inventory_hostname": host,
            "provision_components": self.remembered(context.site),
        }
        state = desired_state(self.role, variables, _ContextResolver(context, host))
        context.rendered[self.name, host] = state
        return state

    def query(self, context: Context, host: str) -> Query:
        """Whatever the role's state names."""
        return query_for(self.desired(context, host))

    def decide(self, context: Context, facts: Facts) -> Decision:
        """Run where the machine differs from the role's state."""
        reasons = self.state_reasons(context, facts)
        return Run(reasons) if reasons else Skip("every machine is as the site says")

    def state_reasons(self, context: Context, facts: Facts) -> dict[str, list[str]]:
        """What differs from the role's state, by machine; only machines that differ."""
        found = {
            host: [
                str(difference)
                for difference in differences(
                    self.desired(context, host), facts.machines[host].observed
                )
            ]
            for host in self.hosts(context)
            if host in facts.machines and facts.machines[host].reachable
        }
        return {host: reasons for host, reasons in found.items() if reasons}


class _ContextResolver:
    """Digests for one machine's state, from the bundle and the secret store."""

    def __init__(self, context: Context, host: str) -> None:
        self.context = context
        self.architecture = context.site.hosts[host].architecture.value

    def blob(self, name: str) -> str:
        return self.context.bundle.sha256(name, self.architecture)

    def secret(self, name: str) -> str | None:
        return self.context.secrets.sha256(name)
