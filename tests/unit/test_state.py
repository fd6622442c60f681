"""A role's list: resolved for one machine, and compared with what the machine has."""

import hashlib
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import jinja2
import pytest

from provision.facts import query_for
from provision.state import (
    DesiredState,
    declared_packages,
    desired_state,
    differences,
    role_defaults,
)

STATE = """\
packages: [chrony, {name: "{{ item }}", loop: lamp_packages}]
modules: [overlay, {name: br_netfilter, when: lamp_lit}]
sysctls:
  - {name: net.ipv4.ip_forward, value: "1"}
  - {name: vm.max, value: "{{ lamp_watts * 2 }}"}
directories:
  - {path: /etc/lamp, mode: "0750", group: lamp}
files:
  - {path: /etc/lamp/lamp.conf, restart: [lamp.service]}
  - {path: "/etc/lamp/{{ item }}.conf", template: etc/lamp/each.conf.j2, loop: lamp_names}
  - {path: /usr/local/bin/lamp, blob: lamp, mode: "0755"}
  - {path: /usr/local/bin/switch, blob: switch, push: true, mode: "0755"}
  - {path: /etc/lamp/lamp.key, secret: "lamp/{{ inventory_hostname }}.key", mode: "0600"}
absent:
  - {path: /etc/lamp/old.conf}
units:
  - {name: lamp.service}
  - {name: dark.service, enabled: false, active: false, when: lamp_lit}
"""
DEFAULTS = {"lamp_packages": ["a"], "lamp_lit": True, "lamp_watts": 20, "lamp_names": ["x", "y"]}


class Digests:
    """Knows the digests of two blobs and of the secrets that were made."""

    def __init__(self, secrets: dict[str, str]) -> None:
        self.secrets = secrets

    def blob(self, name: str) -> str:
        return {"lamp": "b" * 64, "switch": "c" * 64}[name]

    def secret(self, name: str) -> str | None:
        return self.secrets.get(name)


@pytest.fixture
def role(tmp_path: Path) -> Path:
    templates = tmp_path / "lamp" / "templates" / "etc" / "lamp"
    templates.mkdir(parents=True)
    (tmp_path / "lamp" / "state.yml").write_text(STATE)
    for folder, text in (
        ("defaults", "lamp_watts: 10\nlamp_lit: true\n"),
        ("vars", "__lamp_x: 1\n"),
    ):
        (tmp_path / "lamp" / folder).mkdir()
        (tmp_path / "lamp" / folder / "main.yml").write_text(text)
    (templates / "lamp.conf.j2").write_text(
        "{% if lamp_lit %}\nwatts = {{ lamp_watts }}\n{% endif %}\nx = {{ __lamp_x }}\n"
    )
    (templates / "each.conf.j2").write_text("name = {{ item }}\n")
    return tmp_path / "lamp"


def resolve(role: Path, **variables: Any) -> DesiredState:
    secrets = {"lamp/n1.key": "d" * 64}
    return desired_state(
        role, {**DEFAULTS, "inventory_hostname": "n1", **variables}, Digests(secrets)
    )


def test_everything_is_resolved(role: Path) -> None:
    state = resolve(role)
    assert state.packages == ("chrony", "a")
    assert state.modules == ("overlay", "br_netfilter")
    assert state.sysctls == {"net.ipv4.ip_forward": "1", "vm.max": "40"}
    assert [file.path for file in state.files] == [
        "/etc/lamp/lamp.conf",
        "/etc/lamp/x.conf",
        "/etc/lamp/y.conf",
        "/usr/local/bin/lamp",
        "/usr/local/bin/switch",
        "/etc/lamp/lamp.key",
    ]
    conf, each, _, lamp, switch, key = state.files
    assert conf.content == "watts = 20\nx = 1\n"
    assert conf.sha256 == hashlib.sha256(b"watts = 20\nx = 1\n").hexdigest()
    assert conf.restart == ("lamp.service",)
    assert each.content == "name = x\n"
    assert (lamp.source, lamp.name, lamp.sha256) == ("blob", "lamp", "b" * 64)
    assert (switch.source, switch.sha256) == ("push", "c" * 64)
    assert (key.source, key.name, key.sha256) == ("secret", "lamp/n1.key", "d" * 64)
    assert key.content is None
    assert [unit.name for unit in state.units] == ["lamp.service", "dark.service"]


def test_the_list_names_every_package_that_it_may_want(role: Path) -> None:
    (role / "state.yml").write_text(
        "packages: [b, {name: '{{ item }}', loop: '[\"a\"] + lamp_more'},"
        " {name: c, when: lamp_needed_elsewhere}]\n"
    )
    (role / "defaults" / "main.yml").write_text("lamp_more: []\n")
    assert declared_packages(role) == ("b", "a", "c")


def test_what_does_not_count_is_left_out(role: Path) -> None:
    state = resolve(role, lamp_lit=False, lamp_names=[], lamp_packages=[])
    assert state.packages == ("chrony",)
    assert state.modules == ("overlay",)
    assert state.files[0].content == "x = 1\n"
    assert len(state.files) == 4
    assert [unit.name for unit in state.units] == ["lamp.service"]


def test_a_roles_own_values_stand_behind_the_machines(role: Path) -> None:
    assert role_defaults(role) == {"lamp_watts": 10, "lamp_lit": True, "__lamp_x": 1}
    state = resolve(role, lamp_watts=30)
    assert state.sysctls["vm.max"] == "60"


def test_a_secret_that_has_yet_to_be_made_has_no_digest(role: Path) -> None:
    state = desired_state(role, {**DEFAULTS, "inventory_hostname": "n2"}, Digests({}))
    assert state.files[-1].sha256 is None
    assert state.files[-1].name == "lamp/n2.key"


def test_the_state_is_plain_data_without_secret_content(role: Path) -> None:
    data = resolve(role).as_dict()
    assert data["files"][-1]["content"] is None
    assert data["directories"][0] == {
        "path": "/etc/lamp",
        "mode": "0750",
        "owner": "root",
        "group": "lamp",
    }


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("files: [{path: /x, mode: 644}]", "mode"),
        ("files: [{path: /x, mode: rw}]", "mode"),
        ("files: [{path: /x, colour: red}]", "colour"),
        ("lamps: []", "lamps"),
        ("units: [{enabled: true}]", "name"),
    ],
)
def test_a_malformed_list_names_its_file(role: Path, text: str, error: str) -> None:
    (role / "state.yml").write_text(text)
    with pytest.raises(ValueError, match=error) as caught:
        resolve(role)
    assert str(role / "state.yml") in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "packages: [{name: '{{ nobody }}'}]",
        "packages: [{name: x, when: nobody}]",
        "packages: [{name: x, loop: nobody}]",
        "sysctls: [{name: x, value: '{{ nobody }}'}]",
    ],
)
def test_an_unknown_variable_is_an_error(role: Path, text: str) -> None:
    (role / "state.yml").write_text(text)
    with pytest.raises(jinja2.UndefinedError, match="nobody"):
        resolve(role)


def observed_as(state: DesiredState) -> dict[str, Any]:
    """The reader's answer for a machine that is exactly as ``state`` says."""
    files: dict[str, Any] = dict.fromkeys(state.absent)
    for directory in state.directories:
        files[directory.path] = {
            "type": "directory",
            "mode": directory.mode,
            "owner": directory.owner,
            "group": directory.group,
        }
    for file in state.files:
        files[file.path] = {
            "type": "file",
            "sha256": file.sha256,
            "mode": file.mode,
            "owner": file.owner,
            "group": file.group,
        }
    return {
        "files": files,
        "packages": dict.fromkeys(state.packages, "1.0"),
        "modules": dict.fromkeys(state.modules, True),
        "sysctls": dict(state.sysctls),
        "units": {
            unit.name: {
                "enabled": unit.enabled,
                "active": unit.active,
                "state": "active" if unit.active else "inactive",
                "restart_pending": False,
            }
            for unit in state.units
        },
    }


def test_a_machine_as_it_should_be_differs_in_nothing(role: Path) -> None:
    state = resolve(role)
    assert differences(state, observed_as(state)) == []


def test_the_query_asks_for_what_the_comparison_needs(role: Path) -> None:
    state = resolve(role)
    query, observed = query_for(state).as_dict(), observed_as(state)
    for kind in ("files", "packages", "modules", "sysctls", "units"):
        assert query[kind] == sorted(observed[kind])


Damage = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            lambda o: o["packages"].update(chrony=None),
            "package chrony is not installed, wanted installed",
        ),
        (
            lambda o: o["modules"].update(overlay=False),
            "kernel module overlay is not loaded, wanted loaded",
        ),
        (lambda o: o["sysctls"].update({"vm.max": "41"}), "sysctl vm.max is 41, wanted 40"),
        (
            lambda o: o["sysctls"].update({"vm.max": None}),
            "sysctl vm.max is unknown to the kernel, wanted 40",
        ),
        (
            lambda o: o["files"].update({"/etc/lamp": None}),
            "directory /etc/lamp is missing, wanted present",
        ),
        (
            lambda o: o["files"]["/etc/lamp"].update(type="link"),
            "directory /etc/lamp is a link, wanted a directory",
        ),
        (
            lambda o: o["files"]["/etc/lamp"].update(mode="0777"),
            "directory /etc/lamp is mode 0777, wanted mode 0750",
        ),
        (
            lambda o: o["files"].update({"/usr/local/bin/lamp": None}),
            "file /usr/local/bin/lamp is missing, wanted present",
        ),
        (
            lambda o: o["files"]["/usr/local/bin/lamp"].update(sha256="e" * 64),
            "file /usr/local/bin/lamp is changed (sha256 eeeeeeeeeeee), wanted bbbbbbbbbbbb",
        ),
        (
            lambda o: o["files"]["/usr/local/bin/lamp"].update(type="directory"),
            "file /usr/local/bin/lamp is a directory, wanted a file",
        ),
        (
            lambda o: o["files"]["/etc/lamp/lamp.key"].update(mode="0644"),
            "file /etc/lamp/lamp.key is mode 0644, wanted mode 0600",
        ),
        (
            lambda o: o["files"]["/etc/lamp/lamp.key"].update(owner="nobody"),
            "file /etc/lamp/lamp.key is owner nobody, wanted owner root",
        ),
        (
            lambda o: o["files"].update({"/etc/lamp/old.conf": {"type": "file"}}),
            "path /etc/lamp/old.conf is present, wanted absent",
        ),
        (
            lambda o: o["units"]["lamp.service"].update(enabled=False),
            "unit lamp.service is disabled, wanted enabled",
        ),
        (
            lambda o: o["units"]["lamp.service"].update(active=False, state="failed"),
            "unit lamp.service is failed, wanted active",
        ),
        (
            lambda o: o["units"]["dark.service"].update(active=True, state="active"),
            "unit dark.service is active, wanted inactive",
        ),
        (
            lambda o: o["units"]["lamp.service"].update(restart_pending=True),
            "unit lamp.service is running with old files, wanted restarted",
        ),
    ],
)
def test_each_damage_is_named_and_nothing_else(role: Path, damage: Damage, said: str) -> None:
    state = resolve(role)
    observed = deepcopy(observed_as(state))
    damage(observed)
    assert [str(found) for found in differences(state, observed)] == [said]


def test_spaces_in_a_sysctl_do_not_count(role: Path) -> None:
    (role / "state.yml").write_text('sysctls: [{name: net.range, value: "1024 60999"}]')
    state = resolve(role)
    observed = observed_as(state)
    observed["sysctls"]["net.range"] = "1024\t60999"
    assert differences(state, observed) == []


def test_a_secret_that_is_due_differs_until_it_is_made(role: Path) -> None:
    state = desired_state(role, {**DEFAULTS, "inventory_hostname": "n2"}, Digests({}))
    observed = observed_as(state)
    observed["files"]["/etc/lamp/lamp.key"]["sha256"] = "f" * 64
    assert [str(found) for found in differences(state, observed)] == [
        "file /etc/lamp/lamp.key is made from an older secret, wanted its renewed secret"
    ]
