"""Runs playbooks by ansible-runner, each in a private folder of its own that is removed after.

The child's environment is an allow-list, because ansible-runner stores the
environment beside the run. Secrets do not pass here: action plugins read them
from the secret store and hand them to modules over standard input.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from provision.effects import Effect, EffectResult
from provision.errors import OperatorError
from provision.events import Emit, Event
from provision.inventory import group_of
from provision.paths import cache_path, playbooks_path, roles_path

MOST_FORKS = 50
PLUGINS = Path(__file__).resolve().parent.parent / "ansible" / "plugins"
INHERITED = ("HOME", "LANG", "LC_ALL", "PATH", "SSH_AUTH_SOCK", "TERM", "USER", "LOGNAME")
INHERITED_PREFIXES = ("XDG_", "PROVISION_", "PYTHON")


class AnsibleRunner:
    """Carries out effects by ``ansible-playbook``.

    Parameters
    ----------
    work
        Folder for the private folders of runs; made 0700.
    """

    def __init__(self, work: Path) -> None:
        self.work = work

    def run(self, effect: Effect, emit: Emit, cancelled: Callable[[], bool]) -> EffectResult:
        """Play ``effect.playbook`` on the machines of its inventory.

        Raises
        ------
        OperatorError
            What ``emit`` raised; the play was ended first, since nobody would know of it.
        """
        from ansible_runner import Runner, RunnerConfig

        collector = _Collector(effect.phase, emit)
        with self._private_folder() as folder:
            inventory = folder / "inventory" / "hosts.json"
            inventory.parent.mkdir()
            inventory.write_text(json.dumps(static_inventory(effect.phase, effect.inventory)))
            config = RunnerConfig(
                private_data_dir=str(folder),
                playbook=str(playbooks_path() / effect.playbook),
                inventory=str(inventory),
                extravars=dict(effect.variables),
                cmdline="--check --diff" if effect.check else None,
                quiet=True,
                rotate_artifacts=0,
            )
            config.prepare()
            config.env = {**_runner_variables(config.env), **environment(len(effect.inventory))}
            runner = Runner(
                config,
                event_handler=collector.take,
                cancel_callback=lambda: cancelled() or collector.error is not None,
                remove_partials=True,
            )
            status, code = runner.run()
            if collector.error is not None:
                raise collector.error
            if status == "failed" and not collector.failed:
                message = _last_lines(folder) or f"ansible-playbook ended with {code}"
                collector.failed = dict.fromkeys(effect.inventory, message)
        return EffectResult(collector.changed, collector.failed, cancelled=status == "canceled")

    @contextmanager
    def _private_folder(self) -> Iterator[Path]:
        self.work.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = Path(tempfile.mkdtemp(prefix="ansible-", dir=self.work))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def clear(self) -> None:
        """Remove what killed runs left behind; call it only while holding the site's lock."""
        for folder in self.work.glob("ansible-*"):
            shutil.rmtree(folder, ignore_errors=True)


def static_inventory(phase: str, hosts: Mapping[str, Any]) -> dict[str, Any]:
    """Ansible's JSON inventory, which its YAML plugin reads, for machines with variables."""
    machines = {name: dict(variables) for name, variables in hosts.items()}
    group: dict[str, Any] = {"hosts": {name: {} for name in machines}}
    return {"all": {"hosts": machines, "children": {group_of(phase): group}}}


def environment(machines: int) -> dict[str, str]:
    """The environment of every Ansible process that the project starts."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in INHERITED or name.startswith(INHERITED_PREFIXES)
    }
    # ansible-playbook must find the interpreter's own scripts first, whatever the caller's PATH.
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', os.defpath)}"
    return {
        **kept,
        "PATH": path,
        "ANSIBLE_ROLES_PATH": str(roles_path()),
        "ANSIBLE_ACTION_PLUGINS": str(PLUGINS / "action"),
        "ANSIBLE_LIBRARY": str(PLUGINS / "modules"),
        "ANSIBLE_MODULE_UTILS": str(PLUGINS / "module_utils"),
        "ANSIBLE_COLLECTIONS_PATH": str(cache_path() / "collections"),
        "ANSIBLE_FORKS": str(min(max(machines, 1), MOST_FORKS)),
        "ANSIBLE_PIPELINING": "True",
        # Seconds until a machine that is busy counts as one that does not answer.
        "ANSIBLE_TIMEOUT": "60",
        # Ansible's default compresses, which only costs time for what a bundle holds.
        "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=60s",
        "ANSIBLE_GATHERING": "explicit",
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_RETRY_FILES_ENABLED": "False",
        "ANSIBLE_INJECT_FACT_VARS": "False",
        "ANSIBLE_NOCOLOR": "True",
    }


def _runner_variables(prepared: Mapping[str, str]) -> dict[str, str]:
    """What ansible-runner itself set up: its callback plugin and the like."""
    return {
        name: value
        for name, value in prepared.items()
        if name.startswith(("ANSIBLE_", "RUNNER_", "AWX_")) and os.environ.get(name) != value
    }


class _Collector:
    """Turns ansible-runner's events into ours and keeps the result by machine."""

    def __init__(self, phase: str, emit: Emit) -> None:
        self.phase = phase
        self._emit = emit
        self.error: OperatorError | None = None
        """Why an event could not be recorded; raised among events, it would not end the play."""
        self.changed: dict[str, int] = {}
        self.failed: dict[str, str] = {}

    def take(self, event: Mapping[str, Any]) -> bool:
        """Handle one event; False keeps ansible-runner from storing it on disk."""
        data = event.get("event_data", {})
        host, task = data.get("host", ""), data.get("task", "")
        result = data.get("res") or {}
        match event.get("event"):
            case "runner_on_start":
                self.emit(Event("task", self.phase, host, task, {"status": "started"}))
            case "runner_on_ok":
                changed = bool(result.get("changed"))
                self.changed[host] = self.changed.get(host, 0) + changed
                status = "changed" if changed else "ok"
                listed = {"changes": len(result["changes"])} if result.get("changes") else {}
                details = {"status": status, **listed, **_duration(data)}
                self.emit(Event("task", self.phase, host, task, details))
            case "runner_on_failed" if not data.get("ignore_errors"):
                self._fail(host, f"{task}: {_message(result)}")
            case "runner_on_unreachable":
                self._fail(host, _message(result))
        return False

    def emit(self, event: Event) -> None:
        """Hand on ``event`` unless an earlier one could not be."""
        if self.error is None:
            try:
                self._emit(event)
            except OperatorError as error:
                self.error = error

    def _fail(self, host: str, message: str) -> None:
        self.failed.setdefault(host, message)
        self.emit(Event("host-failed", self.phase, host, message))


def _duration(data: Mapping[str, Any]) -> dict[str, float]:
    seconds = data.get("duration")
    return {} if seconds is None else {"seconds": round(seconds, 2)}


def _message(result: Mapping[str, Any]) -> str:
    if result.get("censored"):
        return "failed; its output is withheld because it may hold a secret"
    parts = [str(result[key]).strip() for key in ("msg", "stderr") if result.get(key)]
    return "\n".join(dict.fromkeys(parts)) or "failed without a message"


def _last_lines(folder: Path, most: int = 12) -> str:
    """The end of ansible-playbook's own output, for a play that failed before any task."""
    for output in folder.glob("artifacts/*/stdout"):
        return "\n".join(output.read_text(errors="replace").strip().splitlines()[-most:])
    return ""
