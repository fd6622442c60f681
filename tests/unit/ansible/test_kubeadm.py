"""What the module ``kubeadm`` does besides calling kubeadm."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from provision.ansible.plugins.action.kubeadm import CREDENTIALS
from provision.ansible.plugins.module_utils.kubeadm.etcd import peer_url
from provision.ansible.plugins.module_utils.kubeadm.failure import WorkError
from provision.ansible.plugins.module_utils.kubeadm.files import read_json, sha256, write_private
from provision.ansible.plugins.module_utils.kubeadm.keep import _matches, _patches
from provision.ansible.plugins.module_utils.kubeadm.lock import alone
from provision.ansible.plugins.module_utils.kubeadm.waiting import until


def test_a_command_that_outlives_us_still_holds_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with alone(lock) as held:
        left_behind = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"],
            stdin=subprocess.PIPE,
            pass_fds=(held,),
        )
    with pytest.raises(WorkError, match="another kubeadm has been running"), alone(lock, 0.1):
        pass
    left_behind.communicate()
    with alone(lock, 0.1):
        pass


def test_files_are_private_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "run" / "join.conf"
    write_private(path, '{"a": 1}')
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert read_json(path) == {"a": 1}
    assert [item.name for item in path.parent.iterdir()] == ["join.conf"]
    path.write_text('{"a": ')
    assert read_json(path) is None
    assert sha256(tmp_path / "absent") is None


def test_waiting_names_what_it_waited_for() -> None:
    with pytest.raises(WorkError, match="in vain for the kettle"):
        until("the kettle", lambda: False, seconds=0)


def test_peer_urls() -> None:
    assert peer_url("10.0.0.1") == "https://10.0.0.1:2380"
    assert peer_url("fd00::1") == "https://[fd00::1]:2380"


def test_a_member_whose_manifest_is_made_anew_never_begins_a_cluster() -> None:
    patches = _patches("etcd", "")
    assert patches["etcd0+json.json"][0]["value"] == "--initial-cluster-state=existing"
    assert "kube-scheduler+strategic.json" in _patches("kube-scheduler", "2030-01-01")


def test_a_pod_is_awaited_until_it_is_the_one_of_the_manifest() -> None:
    def pod(image: str, ready: str) -> dict[str, object]:
        return {
            "metadata": {"annotations": {"provision/renewed": "x", "other": "y"}},
            "spec": {"containers": [{"command": ["etcd"], "image": image}]},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }

    wanted = pod("etcd:2", "False")
    wanted["metadata"] = {"annotations": {"provision/renewed": "x"}}
    assert _matches(pod("etcd:2", "True"), wanted)
    assert not _matches(pod("etcd:2", "False"), wanted)
    assert not _matches(pod("etcd:1", "True"), wanted)


def test_only_leaving_takes_the_administrators_credential() -> None:
    assert {step for step, name in CREDENTIALS.items() if name == "kubernetes/admin"} == {"leave"}
