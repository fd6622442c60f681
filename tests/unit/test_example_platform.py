"""What of examples/platform can be judged without helm: its parts fit together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.bundle.catalog import catalog, default_kubernetes_version
from provision.phases.platform import PlatformSettings, helm_values
from provision.plan import phases_of
from tests.support.cases import make_site

EXAMPLE = Path(__file__).parents[2] / "examples" / "platform"
APPLICATIONS = sorted(path.name for path in (EXAMPLE / "applications").iterdir())
WITH_VAULT = [
    name
    for name in APPLICATIONS
    if (EXAMPLE / "applications" / name / "templates/_vault.tpl").exists()
]

WITH_SECRET = re.compile(r'<<-? *with secret "([^"]+)" *>>(.*?)<<-? *end', re.DOTALL)


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def _values(name: str) -> Any:
    return _yaml(EXAMPLE / "applications" / name / "values.yaml")


def _fields(name: str) -> Iterator[tuple[str, set[str]]]:
    """Paths in Vault that the pods of an application read, with the fields they take there."""
    for entries in _values(name)["vault"]["secrets"].values():
        for entry in entries:
            if "template" not in entry:
                yield entry["path"], {entry["key"]}
                continue
            text = (EXAMPLE / "applications" / name / entry["template"]).read_text("utf-8")
            for path, block in WITH_SECRET.findall(text):
                yield path, set(re.findall(r"\.Data\.data\.(\w+)", block))


def test_every_application_is_made_by_the_chart() -> None:
    made = _yaml(EXAMPLE / "platform" / "values.yaml")["applications"]
    assert sorted(made) == APPLICATIONS


def test_the_template_for_vault_is_the_same_everywhere() -> None:
    texts = {
        (EXAMPLE / "applications" / name / "templates/_vault.tpl").read_text("utf-8")
        for name in WITH_VAULT
    }
    assert len(texts) == 1


@pytest.mark.parametrize("name", WITH_VAULT)
def test_pods_may_read_what_they_read_and_nothing_else(name: str) -> None:
    policy = (EXAMPLE / "vault" / f"{name}.hcl").read_text("utf-8")
    assert set(re.findall(r'path "([^"]+)"', policy)) == {path for path, _ in _fields(name)}


@pytest.mark.parametrize("name", WITH_VAULT)
def test_the_site_lets_each_pod_log_in(name: str) -> None:
    site = _yaml(EXAMPLE / "site.yaml")
    role = site["vault_kubernetes"]["roles"][_values(name)["vault"]["role"]]
    (policy,) = role["policies"]
    assert site["vault"]["policies"][policy] == f"vault/{name}.hcl"
    assert role["namespaces"] == [name]
    assert sorted(role["service_accounts"]) == sorted(_values(name)["vault"]["secrets"])


def test_everybody_of_the_directory_has_a_password() -> None:
    values = _values("directory")
    files = {entry["file"] for entry in values["vault"]["secrets"]["directory"]}
    people = {f"people/{person['name']}" for person in values["people"]}
    assert files == people | {"reader", "numbered"}


def test_the_site_makes_what_pods_read_and_nothing_else() -> None:
    site = _yaml(EXAMPLE / "site.yaml")
    made = {path: set(one["fields"]) for path, one in site["platform"]["secrets"].items()}
    read: dict[str, set[str]] = {}
    for name in WITH_VAULT:
        for path, fields in _fields(name):
            read.setdefault(path.replace("secret/data/", "secret/", 1), set()).update(fields)
    for role in site["postgresql"]["roles"]:
        assert read.pop(f"secret/postgresql/{role}") == {"username", "password", "host", "port"}
    assert read == made


def test_the_bundle_brings_the_images_of_all_applications() -> None:
    requested = _yaml(EXAMPLE / "site.yaml")["platform"]["images"]
    chosen = catalog().select(default_kubernetes_version(), "amd64", requested=requested)
    brought = {image.reference for one in chosen.components for image in one.images}
    taken = {image for name in APPLICATIONS for image in _images(_values(name))}
    assert taken
    assert taken <= brought


def _images(values: Any) -> Iterator[str]:
    """Whatever stands under a key ``image``, at any depth."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from [value] if key == "image" else _images(value)


def test_the_site_file_is_one_that_provision_takes() -> None:
    network = {
        "network": {"machines": "10.0.0.0/24"},
        "hosts": {f"n{number}": {"address": f"10.0.0.{number}"} for number in range(1, 5)},
        "api_endpoint": {"address": "10.0.0.100"},
    }
    site = make_site({**network, **_yaml(EXAMPLE / "site.yaml")})
    site.place(EXAMPLE)
    assert [one for phase in phases_of(site) for one in phase.validate_site(site)] == []
    values = helm_values(site.settings(PlatformSettings), "CERTIFICATE")
    assert values["authority"] == "CERTIFICATE"
    assert set(values) <= set(_yaml(EXAMPLE / "platform" / "values.yaml"))


def test_pages_are_led_by_the_ingress_that_is_among_the_applications() -> None:
    platform = _yaml(EXAMPLE / "platform" / "values.yaml")
    assert platform["ingress"]["class"] == _values("ingress")["ingress"]["class"]
    assert platform["ingress"]["namespace"] == "ingress"
    waves = {name: entry["wave"] for name, entry in platform["applications"].items()}
    assert waves.pop("ingress") < min(waves.values())
