"""Every component keeps the rules that let it be added and removed without touching another."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from provision.descriptions import descriptions
from provision.paths import playbooks_path
from provision.phase import AnsiblePhase, Context, Phase
from provision.plan import order
from provision.secrets import SecretStore
from provision.site import Settings, Site

ROOT = Path(__file__).parents[2]
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def test_a_phase_has_one_name(phase: Phase) -> None:
    """Its module, its class, its settings and its key in the site file."""
    assert NAME.fullmatch(phase.name)
    assert type(phase).__module__ == f"provision.phases.{phase.name}"
    assert phase.settings.component == phase.name
    assert issubclass(phase.settings, Settings)


def test_its_module_holds_one_phase_and_one_kind_of_settings(phase: Phase) -> None:
    module = inspect.getmodule(type(phase))
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == type(phase).__module__
    ]
    assert [value for value in own if issubclass(value, Phase)] == [type(phase)]
    assert [value for value in own if issubclass(value, Settings)] == [phase.settings]


def test_everything_of_a_component_is_there(phase: Phase) -> None:
    page = ROOT / "docs" / "components" / f"{phase.name}.md"
    assert page.is_file(), f"{page} is missing"
    playbook = playbooks_path() / f"{phase.name}.yml"
    assert playbook.is_file() == isinstance(phase, AnsiblePhase), playbook
    cases = ROOT / "tests" / "cases" / phase.name
    assert list(cases.glob("*.yaml")), f"{cases} holds no case"


def test_its_page_has_its_name(phase: Phase) -> None:
    page = (ROOT / "docs" / "components" / f"{phase.name}.md").read_text()
    assert page.splitlines()[0] == f"# {phase.name}"


def test_its_playbook_is_one_play_of_one_role(phase: Phase) -> None:
    if not isinstance(phase, AnsiblePhase):
        return
    plays = yaml.safe_load((playbooks_path() / f"{phase.name}.yml").read_text())
    assert len(plays) == 1
    [play] = plays
    roles = [item["role"] if isinstance(item, dict) else item for item in play["roles"]]
    assert roles == [phase.name]
    group = f"component_{phase.name}"
    assert (play["hosts"], play["gather_facts"], play["become"]) == (group, False, True)
    assert play["name"]


def test_the_order_has_no_circle(phases: tuple[Phase, ...]) -> None:
    names = [phase.name for phase in phases]
    assert len(set(names)) == len(names)
    assert order(list(reversed(phases))) == phases
    for place, phase in enumerate(phases):
        assert set(phase.after) <= set(names[:place])


def test_what_comes_after_an_optional_one_says_what_that_comes_after(
    phase: Phase, phases: tuple[Phase, ...]
) -> None:
    """Where the site has not the optional one, the order must not be lost."""
    by_name = {item.name: item for item in phases}
    for name in phase.after:
        if by_name[name].settings.optional:
            assert set(by_name[name].after) <= set(phase.after), name


def models(kind: type[BaseModel]) -> set[type[BaseModel]]:
    found = {kind}
    for field in kind.model_fields.values():
        todo = [field.annotation]
        while todo:
            item: Any = todo.pop()
            todo.extend(getattr(item, "__args__", ()))
            if isinstance(item, type) and issubclass(item, BaseModel) and item not in found:
                found |= models(item)
    return found


def test_every_setting_says_what_it_means(phase: Phase) -> None:
    for model in models(phase.settings):
        assert model.__doc__, model
        for name in model.model_fields:
            assert descriptions(model).get(name), f"{model.__name__}.{name} has no docstring"


def test_settings_are_frozen_and_refuse_what_they_do_not_know(phase: Phase) -> None:
    for model in models(phase.settings):
        assert model.model_config.get("frozen"), model
        assert model.model_config.get("extra") == "forbid", model


def test_what_machines_remember_of_it_can_be_read_again(phase: Phase, site: Site) -> None:
    """By what an optional component was made with, it is taken off."""
    for name, settings in phase.remembered(site).items():
        assert phase.settings.model_validate(settings) == site.settings(phase.settings), name


def test_the_phase_and_what_it_offers_are_documented(phase: Phase) -> None:
    assert type(phase).__doc__
    assert (inspect.getmodule(type(phase)) or object).__doc__


def test_secrets_are_declared_once_and_can_be_made(
    phases: tuple[Phase, ...], site: Site, tmp_path: Path
) -> None:
    specs = [spec for phase in phases for spec in phase.secrets(site)]
    assert len({spec.name for spec in specs}) == len(specs)
    store = SecretStore(tmp_path / "secrets", specs=specs, site=site.name)
    assert sorted(store.ensure(specs)) == sorted(spec.name for spec in specs)
    assert store.ensure(specs) == []


def test_a_phase_alone_can_make_its_secrets(
    phase: Phase, phases: tuple[Phase, ...], site: Site, tmp_path: Path
) -> None:
    """As ``up --only`` does; what they rest on may be another component's."""
    specs = [spec for item in phases for spec in item.secrets(site)]
    store = SecretStore(tmp_path / "secrets", specs=specs, site=site.name)
    store.ensure(phase.secrets(site))
    assert store.ensure(phase.secrets(site)) == []


def test_variables_are_plain_data_of_the_components_own(phase: Phase, context: Context) -> None:
    for host in phase.hosts(context):
        variables = phase.variables(context, host)
        assert json.loads(json.dumps(variables)) == variables, "Ansible gets JSON"
        for name in variables:
            assert name.startswith(f"{phase.name}_"), name
    for name in phase.common_variables(context):
        assert name.startswith("provision_"), name


def test_it_is_decided_twice_alike(phase: Phase, context: Context) -> None:
    """Variables and queries depend on the site, the bundle and the secrets alone."""
    for host in phase.hosts(context):
        assert phase.variables(context, host) == phase.variables(context, host)
        assert phase.query(context, host) == phase.query(context, host)


def test_its_state_can_be_resolved_for_every_machine(phase: Phase, context: Context) -> None:
    """Blobs are in the catalog, secrets are declared, templates name known variables."""
    if isinstance(phase, AnsiblePhase):
        for host in phase.hosts(context):
            phase.desired(context, host)


def test_openings_are_well_formed(phase: Phase, site: Site) -> None:
    for opening in phase.openings(site):
        assert re.fullmatch(r"\d+(-\d+)?|", opening.ports), opening


@pytest.mark.parametrize("control_plane", [1, 3, 5])
def test_every_size_of_site_is_accepted(phase: Phase, control_plane: int) -> None:
    from tests.support.sites_of import WITHOUT, site_of

    site = site_of(control_plane, without=WITHOUT.get(phase.name, ()))
    assert list(phase.validate_site(site)) == []
