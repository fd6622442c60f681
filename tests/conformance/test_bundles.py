"""A bundle that is built for a site has all that the site's components use."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.bundle.catalog import catalog
from provision.phase import AnsiblePhase, Context, Phase
from provision.plan import discover, not_needed, phases_of
from tests.support.cases import EverySecret, make_site
from tests.support.catalog_bundle import CatalogBundle


def test_what_a_component_brings_into_the_bundle_is_in_the_catalog(phase: Phase) -> None:
    assert set(phase.bundled) <= {component.name for component in catalog().components}
    assert phase.settings.optional or not phase.bundled


def test_a_bundle_for_a_site_is_enough_for_it(
    phase: Phase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where something is used that is not said to be, it is not in this bundle."""
    monkeypatch.setenv("PROVISION_CACHE", str(tmp_path / "cache"))
    (tmp_path / "bundle").mkdir()
    chosen = [phase.name] if phase.settings.optional else []
    others = [other.name for other in discover() if other.settings.optional]
    site = make_site({}, *chosen, *(name for name in phase.after if name in others))
    bundle = CatalogBundle("1.36.3", tmp_path / "bundle")
    bundle.selection = bundle.selection.without(not_needed(site))
    context = Context(site, bundle, EverySecret())
    for wanted in phases_of(site):
        wanted.objects(context)
        for host in wanted.hosts(context):
            if isinstance(wanted, AnsiblePhase):
                wanted.desired(context, host)
