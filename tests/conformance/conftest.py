"""Every component that is found, and a site in which all of them have something to do."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from provision.phase import AnsiblePhase, Context, Phase
from provision.plan import discover
from provision.site import Site
from tests.support.cases import make_site, optional_components
from tests.support.catalog_bundle import CatalogBundle


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each test that asks for ``phase`` or ``role`` every component."""
    phases = discover()
    if "phase" in metafunc.fixturenames:
        metafunc.parametrize("phase", phases, ids=[phase.name for phase in phases])
    if "role" in metafunc.fixturenames:
        roles = [phase for phase in phases if isinstance(phase, AnsiblePhase)]
        metafunc.parametrize(
            "role", [item.role for item in roles], ids=[item.name for item in roles]
        )


class DeclaredSecrets:
    """A store that has what the components declare, and knows nothing else."""

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names

    def sha256(self, name: str) -> str | None:
        assert name in self.names, f"no component declares the secret {name}"
        return hashlib.sha256(name.encode()).hexdigest()

    def certificate(self, name: str) -> str | None:
        assert f"{name}.crt" in self.names, f"no component declares the authority {name}"
        return f"certificate of {name}\n"


@pytest.fixture
def site() -> Site:
    return make_site({}, *optional_components())


@pytest.fixture
def phases() -> tuple[Phase, ...]:
    return discover()


@pytest.fixture
def context(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    from provision.secrets import file_names

    monkeypatch.setenv("PROVISION_CACHE", str(tmp_path / "cache"))
    (tmp_path / "bundle").mkdir()
    declared = frozenset(
        name for phase in discover() for spec in phase.secrets(site) for name in file_names(spec)
    )
    bundle = CatalogBundle("1.36.3", tmp_path / "bundle")
    return Context(site, bundle, DeclaredSecrets(declared))
