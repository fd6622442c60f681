"""Machines that are this computer, each with a sudo of the test's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from provision.adapters.connection import Connections
from provision.adapters.pyinfra import PyinfraMachines
from provision.site import Site
from provision.worker import start_worker
from tests.support import local_worker

# As a login user, whoever runs the tests.
ID = "#!/bin/sh\necho 1000\n"

SUDO = r"""#!/bin/sh
# sudo as far as the command needs it: -n never asks, -S reads one line for each attempt.
mode=$(cat "$HOME/sudo-mode")
for word; do
  case "$word" in
    -n) never=1; shift ;;
    -S) shift ;;
    -k) shift ;;
    -p) shift 2 ;;
    --) shift; break ;;
  esac
done
case "$mode" in
  open) ;;
  refuse) echo "user is not in the sudoers file." >&2; exit 1 ;;
  *)
    [ -z "$never" ] || { echo "sudo: a password is required" >&2; exit 1; }
    tries=0
    while [ $tries -lt 3 ]; do
      IFS= read -r given || break
      tries=$((tries + 1))
      echo "$tries" >> "$HOME/sudo-tries"
      [ "$given" != "$mode" ] || exec "$@"
      echo "Sorry, try again." >&2
    done
    echo "sudo: no password was provided" >&2
    echo "sudo: $tries incorrect password attempt" >&2
    exit 1 ;;
esac
exec "$@"
"""

Make = Callable[..., PyinfraMachines]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    tools = folder / "bin"
    tools.mkdir(parents=True)
    for name, text in (("id", ID), ("sudo", SUDO)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    (folder / "sudo-mode").write_text("open\n")
    (folder / "worker.json").write_text("{}")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return folder


@pytest.fixture
def behave(home: Path) -> Callable[[Mapping[str, Any]], None]:
    def write(behaviour: Mapping[str, Any]) -> None:
        new = home / "worker.json.new"
        new.write_text(json.dumps(behaviour))
        new.replace(home / "worker.json")

    return write


def site_of(control_plane: int = 3, **connection: Any) -> Site:
    hosts = {
        f"n{number}": {"address": f"192.0.2.{number}", "parts": ["control_plane"]}
        for number in range(1, control_plane + 1)
    }
    return Site.model_validate(
        {
            "name": "unit",
            "connection": connection,
            "network": {"machines": "192.0.2.0/24"},
            "hosts": hosts,
        }
    )


@pytest.fixture
def machines(home: Path, tmp_path: Path) -> Iterator[Make]:
    """Makes :class:`PyinfraMachines` whose worker runs everything here."""
    made: list[PyinfraMachines] = []

    def make(site: Site | None = None, **options: Any) -> PyinfraMachines:
        chosen = site or site_of()
        made.append(
            PyinfraMachines(
                chosen,
                Connections(chosen, tmp_path / "state"),
                start_worker(Path(local_worker.__file__)),
                **options,
            )
        )
        return made[-1]

    yield make
    for one in made:
        one.close()
