"""``kubectl`` as this machine's administrator of the cluster; objects go over standard input."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Object = Mapping[str, Any]

ADMIN = Path("/etc/kubernetes/admin.conf")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SERVER_SIDE = ("--server-side", "--force-conflicts", "--field-manager=provision")
LAST_LINES = 15
NO_API = (
    "connection refused",
    "no route to host",
    "i/o timeout",
    "Unable to connect to the server",
    "was refused - did you specify the right host or port",
)
"""What kubectl says where no API server answers."""
NO_KIND = ("no matches for kind", "ensure CRDs are installed first")
"""What kubectl says of an object whose kind the cluster does not know."""


class ObjectsError(Exception):
    """Objects that cannot be kept; the message says what and why, and no secret."""


class Answer:
    """How a command ended, and what it said."""

    def __init__(self, code: int, out: str, said: str) -> None:
        self.code = code
        self.out = out
        self.said = said

    @property
    def no_api(self) -> bool:
        """Whether no API server answered."""
        return any(words in self.said for words in NO_API)

    @property
    def only_unknown_kinds(self) -> bool:
        """Whether there is no other complaint than of kinds that the cluster does not know."""
        complaints = [line for line in self.said.splitlines() if line.strip()]
        return all(any(words in line for words in NO_KIND) for line in complaints)


class Kubectl:
    """Runs ``kubectl`` with lists of objects."""

    def differs(self, objects: Sequence[Object]) -> bool:
        """Whether applying would change anything; what cannot be compared yet differs."""
        return self.attempt("diff", objects, *SERVER_SIDE).code != 0

    def apply(self, objects: Sequence[Object]) -> Answer:
        """Apply the objects, whoever manages their fields now."""
        return self.attempt("apply", objects, *SERVER_SIDE)

    def delete(self, objects: Sequence[Object], seconds: int) -> Answer:
        """Delete what is there of the objects, and wait until it is gone."""
        return self.attempt("delete", objects, "--ignore-not-found", f"--timeout={seconds}s")

    def wait(self, condition: str, objects: Sequence[Object], seconds: int) -> Answer:
        """Wait until ``condition`` is true of all objects."""
        return self.attempt(
            "wait", objects, f"--for=condition={condition}", f"--timeout={seconds}s"
        )

    def rolled_out(self, deployments: Sequence[Object], seconds: float) -> Answer:
        """Wait until every Deployment runs as it was applied last, and nothing of it as before."""
        deadline = time.monotonic() + seconds
        for deployment in deployments:
            left = max(1, round(deadline - time.monotonic()))
            answer = self.attempt("rollout status", [deployment], f"--timeout={left}s")
            if answer.code:
                return answer
        return Answer(0, "", "")

    def attempt(self, verb: str, objects: Sequence[Object], *options: str) -> Answer:
        """The command's end, whichever it was; nothing secret of the objects is in it.

        Raises
        ------
        ObjectsError
            kubectl cannot be run.
        """
        # One after the other: for a List kubectl wants the whole API's schema in its older form,
        # which one aggregated API with a fault in its own takes away from all.
        listed = "\n".join(map(json.dumps, objects))
        try:
            done = subprocess.run(
                ["kubectl", f"--kubeconfig={ADMIN}", *verb.split(), *options, "--filename=-"],
                input=listed,
                capture_output=True,
                env={**os.environ, "LC_ALL": "C.UTF-8", "PATH": PATH},
                text=True,
                errors="replace",
                check=False,
            )
        except OSError as error:
            raise ObjectsError(f"kubectl cannot be run: {error.strerror}") from error
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-LAST_LINES:])
        return Answer(done.returncode, done.stdout, without_secrets(said, objects))


def without_secrets(text: str, objects: Sequence[Object]) -> str:
    """``text`` with the values of all Secrets among ``objects`` blotted out."""
    for value in _values(objects):
        text = text.replace(value, "***")
    return text


def _values(objects: Sequence[Object]) -> Iterator[str]:
    for item in objects:
        if item["kind"] == "Secret":
            for value in (item.get("data") or {}).values():
                yield value
                plain = base64.b64decode(value).decode(errors="replace")
                yield from (line for line in (plain, *plain.splitlines()) if line.strip())
