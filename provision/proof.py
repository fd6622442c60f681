"""A proof: one thing that users of a cluster need, tried out with throw-away objects.

Proofs are discovered in ``provision/proofs``. Each gets a namespace of its own on
the site's cluster, which is removed when it is over, whatever happened; one about a
service outside the cluster gets nothing of it (:class:`OutsideProof`).
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, Protocol

from provision import proofs as proofs_package
from provision.errors import ExitCode, OperatorError
from provision.phase import Context, Manifest
from provision.site import Site
from provision.vault.api import VaultApi

Object = Mapping[str, Any]


class NotProvenError(OperatorError):
    """What a proof tried did not work."""

    exit_code = ExitCode.UNHEALTHY


@dataclass(frozen=True)
class Login:
    """Who wants into which database of PostgreSQL."""

    host: str
    """Name or address that the server's certificate must hold."""
    database: str
    user: str
    password: str = field(repr=False)


class Cluster(Protocol):
    """A cluster to look at."""

    def all(self, api_version: str, kind: str) -> Sequence[Object]:
        """Every object of a kind; none where the kind is unknown."""


class LiveCluster(Cluster, Protocol):
    """One whose machines can be asked too."""

    def kubelet_configuration(self, node: str) -> Object:
        """What the kubelet of a machine runs with."""


class Ground(Protocol):
    """A namespace of our own in the site's cluster."""

    namespace: str
    site_context: Context

    def apply(self, *objects: Manifest) -> None:
        """Make objects; those without a namespace are made in ours."""

    def delete(self, manifest: Manifest) -> None:
        """Delete an object and wait until it is gone."""

    def get(self, manifest: Manifest) -> Object:
        """An object as it stands; empty where there is none."""

    def all(self, api_version: str, kind: str) -> Sequence[Object]:
        """Every object of a kind in the whole cluster; none where the kind is unknown."""

    def fetch(self, url: str, trust: str = "") -> str:
        """What is at ``url``, as the controller sees it, from outside the cluster.

        Parameters
        ----------
        trust
            Authorities in PEM form that the server's certificate may end at; without them, those
            that Mozilla trusts.

        Raises
        ------
        NotProvenError
            Nobody answers.
        """

    def addresses(self, server: str, name: str) -> Sequence[str]:
        """What a name server has for ``name``, as the controller sees it; none if it has nothing.

        Parameters
        ----------
        server
            ``address:port``.
        name
            Ends with a point.

        Raises
        ------
        NotProvenError
            It does not answer.
        """

    def until(self, what: str, look: Callable[[], str], seconds: float) -> None:
        """Return once ``look()`` has nothing to object to.

        Raises
        ------
        NotProvenError
            It still had something when the time was over; the error tells the last of it.
        """

    def vault(self, urls: Iterable[str]) -> VaultApi:
        """The active one of the site's Vault's members at ``urls``, logged in.

        Raises
        ------
        VaultRefusalError
            None is.
        """

    def authority(self) -> str:
        """The certificate, in PEM, that the site's own servers are trusted by."""

    def ask(self, pod: str, port: int, login: Login, statement: str) -> Sequence[Sequence[Any]]:
        """What a database answers that a pod of ours hands on to at ``port``.

        Raises
        ------
        NotProvenError
            It does not answer, is not who it should be, or refuses.
        """

    def run(self, pod: str, script: str) -> str:
        """What a shell script prints in a pod of ours.

        Raises
        ------
        NotProvenError
            It cannot be run, or fails.
        """


class Rows(Protocol):
    """Asks a database, over a connection that lasts for one question."""

    def __call__(
        self, address: str, port: int, statement: str, **values: Any
    ) -> Sequence[Sequence[Any]]:
        """What the server at ``address`` answers, as ``provision``'s own user.

        Raises
        ------
        NotProvenError
            It does not answer, or refuses.
        """


@dataclass(frozen=True)
class Outside:
    """What proves a service outside the cluster, from the controller."""

    site: Site
    rows: Rows
    """Asks the site's databases."""
    until: Callable[[str, Callable[[], str], float], None]
    """Returns once a look has nothing to object to, as :meth:`Ground.until` does."""


class AnyProof(ABC):
    """One thing to be proven. Subclasses are discovered in ``provision/proofs``."""

    name: ClassVar[str]
    """A noun phrase, as a row of the table shows it."""
    component: ClassVar[str]
    """The component that this is about; nothing is proven where the site does not have it."""


class OutsideProof(AnyProof):
    """What needs no cluster."""

    @abstractmethod
    def prove(self, outside: Outside) -> str:
        """Try it; what was seen, in a few words.

        Raises
        ------
        NotProvenError
            It does not work.
        """


class Proof(AnyProof):
    """What is tried out in the cluster."""

    def cases(self, cluster: Cluster, site: Site) -> Sequence[str]:
        """Names of what is to be proven one by one, such as classes of storage."""
        del cluster, site
        return ("",)

    @abstractmethod
    def prove(self, ground: Ground, case: str) -> str:
        """Try it; what was seen, in a few words.

        Raises
        ------
        NotProvenError
            It does not work.
        """


@lru_cache(maxsize=1)
def discover_proofs() -> tuple[AnyProof, ...]:
    """Every proof in ``provision/proofs``, by its module's name."""
    names = sorted(module.name for module in pkgutil.iter_modules(proofs_package.__path__))
    modules = [importlib.import_module(f"{proofs_package.__name__}.{name}") for name in names]
    return tuple(
        value()
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, AnyProof)
        and value.__module__ == module.__name__
        and "name" in vars(value)
    )
