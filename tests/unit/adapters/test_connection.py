"""How machines are reached: one configuration for pyinfra, Ansible and ssh."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path
from typing import Any

import pytest

from provision.adapters.connection import Connections
from provision.adapters.hostkeys import UnknownHostKey, fingerprint
from provision.errors import ConfigError
from provision.site import Site
from tests.unit.adapters.conftest import site_of

KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIE28PEt38xMobt8AKJUPkIoeTZVoiLj6Vqxq+Sm36tXv"


def with_own_connection(**own: Any) -> Site:
    site = site_of(user="admin", key="/keys/site", known_hosts="/keys/known")
    hosts = {name: host.model_dump() for name, host in site.hosts.items()}
    hosts["n2"]["connection"] = own
    return Site.model_validate({**site.model_dump(exclude_unset=True), "hosts": hosts})


def test_the_configuration_names_what_the_site_says(tmp_path: Path) -> None:
    site = with_own_connection(port=2222, bastion="jump@198.51.100.1:2200", user="root")
    text = Connections(site, tmp_path).text()
    assert (
        """\
Host n2 192.0.2.2
  HostName 192.0.2.2
  User root
  Port 2222
  IdentityFile "/keys/site"
  IdentitiesOnly yes
  UserKnownHostsFile "/keys/known"
  ProxyJump jump@198.51.100.1:2200
"""
        in text
    )
    assert 'Host 198.51.100.1\n  IdentityFile "/keys/site"\n' in text
    assert text.endswith(
        "Host *\n  StrictHostKeyChecking yes\n  ConnectTimeout 10\n"
        '  UserKnownHostsFile "/keys/known"\n  Include ~/.ssh/config\n'
    )


def test_what_the_site_does_not_say_is_left_to_the_operator_s_configuration(
    tmp_path: Path,
) -> None:
    text = Connections(site_of(1), tmp_path).text()
    assert text == (
        "Host n1 192.0.2.1\n  HostName 192.0.2.1\n\n"
        "Host *\n  StrictHostKeyChecking yes\n  ConnectTimeout 10\n  Include ~/.ssh/config\n"
    )
    data = Connections(site_of(1), tmp_path).pyinfra_data("n1")
    assert "ssh_user" not in data
    assert "ssh_known_hosts_file" not in data
    assert data["ssh_strict_host_key_checking"] == "yes"


@pytest.mark.parametrize(
    ("bastion", "jump_host"),
    [("jump@192.0.2.1", "192.0.2.1"), ("n1:2200", "n1"), ("[2001:db8::1]:22", "2001:db8::1")],
)
def test_a_machine_that_is_the_way_to_the_others_is_reached_directly(
    tmp_path: Path, bastion: str, jump_host: str
) -> None:
    """Through itself would be without end."""
    site = site_of(bastion=bastion, key="/keys/site")
    blocks = Connections(site, tmp_path).text().split("\n\n")
    by_host = {block.split()[1]: block for block in blocks}
    itself = jump_host in ("192.0.2.1", "n1")
    assert ("ProxyJump" in by_host["n1"]) != itself
    assert f"ProxyJump {bastion}" in by_host["n2"]
    assert f'Host {jump_host}\n  IdentityFile "/keys/site"' in blocks


def test_ssh_reads_the_configuration_as_it_is_meant(tmp_path: Path) -> None:
    site = with_own_connection(port=2222, bastion="jump@198.51.100.1:2200", user="root")
    arguments = Connections(site, tmp_path / "a folder").ssh("n2")
    shown = subprocess.run(
        [*arguments[:-1], "-G", arguments[-1]], capture_output=True, text=True, check=True
    )
    lines = shown.stdout.splitlines()
    for wanted in (
        "hostname 192.0.2.2",
        "user root",
        "port 2222",
        "identityfile /keys/site",
        "identitiesonly yes",
        "stricthostkeychecking true",
        "userknownhostsfile /keys/known",
    ):
        assert wanted in lines
    # How the address is bracketed differs between OpenSSH's releases.
    assert any("proxyjump" in line and "198.51.100.1" in line and "2200" in line for line in lines)


def test_ansible_gets_the_same_file(tmp_path: Path) -> None:
    connections = Connections(with_own_connection(port=2222), tmp_path / "a folder")
    assert connections.ansible_variables("n2") == {
        "ansible_host": "192.0.2.2",
        "ansible_port": 2222,
        "ansible_user": "admin",
        "ansible_ssh_common_args": f"-F '{tmp_path}/a folder/ssh_config'",
    }
    assert (tmp_path / "a folder" / "ssh_config").stat().st_mode & 0o777 == 0o600


def test_the_file_is_written_only_when_it_differs(tmp_path: Path) -> None:
    first = Connections(site_of(), tmp_path).written.stat()
    assert Connections(site_of(), tmp_path).written.stat().st_ino == first.st_ino
    assert Connections(site_of(user="other"), tmp_path).written.stat().st_ino != first.st_ino
    assert [path.name for path in tmp_path.iterdir()] == ["ssh_config"]


def test_a_key_that_is_missing_or_open_to_others_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "key"
    connections = Connections(site_of(key=str(key)), tmp_path)
    with pytest.raises(ConfigError) as missing:
        connections.check()
    assert missing.value.found == f"{key}: no such file or directory"
    key.write_text("")
    key.chmod(0o644)
    with pytest.raises(ConfigError) as readable:
        connections.check()
    assert readable.value.fix == f"chmod 0600 {key}"
    key.chmod(0o600)
    connections.check()


def test_the_fingerprint_is_openssh_s(tmp_path: Path) -> None:
    public = tmp_path / "key.pub"
    public.write_text(f"ssh-ed25519 {KEY}\n")
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(public)], capture_output=True, text=True, check=True
    )
    assert fingerprint(KEY) in shown.stdout


def test_pinning_appends_one_line_even_to_a_torn_file(tmp_path: Path) -> None:
    known = tmp_path / "deep" / "known_hosts"
    first = UnknownHostKey("n1", "192.0.2.1", "ssh-ed25519", KEY, known)
    other = base64.b64encode(b"other").decode()
    second = UnknownHostKey("n2", "[192.0.2.2]:2222", "ssh-ed25519", other, known)
    first.pin()
    known.write_text(known.read_text().rstrip("\n"))
    assert not second.pinned()
    second.pin()
    assert first.pinned()
    assert second.pinned()
    assert known.read_text() == (
        f"192.0.2.1 ssh-ed25519 {KEY}\n[192.0.2.2]:2222 ssh-ed25519 {other}\n"
    )
    assert known.stat().st_mode & 0o777 == 0o600


def test_a_key_that_cannot_be_pinned_is_an_error_of_the_operator_s(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    below = tmp_path / "file" / "known_hosts"
    with pytest.raises(ConfigError) as refused:
        UnknownHostKey("n1", "192.0.2.1", "ssh-ed25519", KEY, below).pin()
    assert refused.value.where == str(below)
