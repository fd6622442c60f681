"""Which folders the local_storage phase refuses, and what it tells the provisioner."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from provision.phases.local_storage import LocalStorage
from tests.support.cases import make_context, make_site


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/etc/volumes", "is a folder of the system's"),
        ("/usr", "is a folder of the system's"),
        ("/data", "is too near the root"),
    ],
)
def test_folders_that_are_refused(path: str, says: str) -> None:
    (problem,) = LocalStorage().validate_site(make_site({"local_storage": {"path": path}}))
    assert problem.startswith(f"local_storage.path {path} ")
    assert says in problem


def test_a_path_that_goes_up() -> None:
    with pytest.raises(ValueError, match="pattern"):
        make_site({"local_storage": {"path": "/data/../etc/x"}})


def test_a_machine_with_a_disk(tmp_path: Path) -> None:
    changes = {"path": "/data/local-volumes", "machines": {"n2": {"disk": "/dev/disk/by-id/x"}}}
    context = make_context(make_site({"local_storage": changes}), tmp_path)
    state = LocalStorage().desired
    assert [unit.name for unit in state(context, "n2").units] == [r"data-local\x2dvolumes.mount"]
    file, memory = state(context, "n2").files
    assert file.path == r"/etc/systemd/system/data-local\x2dvolumes.mount"
    assert "What=/dev/disk/by-id/x" in (file.content or "")
    assert memory.path == "/var/lib/provision/component-local_storage.json"
    assert json.loads(memory.content or "")["machines"]["n2"]["disk"] == "/dev/disk/by-id/x"
    assert [one.path for one in state(context, "n1").files] == [memory.path]


def test_a_machine_that_is_none() -> None:
    site = make_site({"local_storage": {"machines": {"n9": {"path": "/data/x"}}}})
    (problem,) = LocalStorage().validate_site(site)
    assert (
        problem == "local_storage.machines.n9 is no machine of the site; there are n1, n2, n3, n4"
    )


def test_values(tmp_path: Path) -> None:
    changes = {"machines": {"n3": {"path": "/data/volumes"}}, "reclaim": "Retain"}
    context = make_context(make_site({"local_storage": changes}), tmp_path)
    values = LocalStorage().values(context)
    assert values["nodePathMap"] == [
        {"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": ["/var/lib/local-storage"]},
        {"node": "n3", "paths": ["/data/volumes"]},
    ]
    assert values["storageClass"]["reclaimPolicy"] == "Retain"
    other = LocalStorage().values(make_context(make_site({"local_storage": {}}), tmp_path))
    assert values["podAnnotations"] != other["podAnnotations"]
