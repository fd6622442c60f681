"""A worker that speaks the real one's protocol but runs each machine's commands here.

``$HOME/worker.json`` says how machines behave: ``{"n1": {"error": {...}}}`` fails,
``{"errors": [...]}`` fails so often before it answers, ``{"crash": true}`` ends the
worker. Commands run with ``$HOME/bin`` first in PATH, where tests put a sudo of theirs;
each machine has a lock file of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

HOME = Path(os.environ["HOME"])
ENVIRONMENT = {"PATH": f"{HOME}/bin:{os.environ['PATH']}", "HOME": str(HOME)}


class Machines:
    """What is known of them, and the processes that they run."""

    def __init__(self) -> None:
        self.passwords: dict[str, str | None] = {}
        self.failures: dict[str, int] = {}
        self.held: dict[int, subprocess.Popen[str]] = {}
        self.writing = threading.Lock()

    def reply(self, request: dict[str, Any], reply: dict[str, Any]) -> None:
        with self.writing:
            print(json.dumps({"id": request["id"], **reply}), flush=True)

    def failure(self, host: str) -> dict[str, Any] | None:
        behaviour = json.loads((HOME / "worker.json").read_text()).get(host, {})
        if behaviour.get("crash"):
            os._exit(1)
        errors = behaviour.get("errors", [])
        number = self.failures.get(host, 0)
        if number < len(errors):
            self.failures[host] = number + 1
            return dict(errors[number])
        error: dict[str, Any] | None = behaviour.get("error")
        return error

    def lines(self, request: dict[str, Any]) -> list[str]:
        password = self.passwords[request["host"]]
        return [*([] if password is None else [password]), *request["lines"]]

    def run(self, request: dict[str, Any]) -> None:
        failure = self.failure(request["host"])
        if failure is not None:
            self.reply(request, {"error": failure})
            return
        sent = time.time()
        done = subprocess.run(
            ["sh", "-c", request["command"]],
            input="".join(f"{line}\n" for line in self.lines(request)),
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
            check=False,
        )
        if done.returncode != 0:
            text = "\n".join(line.removeprefix(": ") for line in done.stderr.splitlines())
            self.reply(request, {"error": {"kind": "command", "text": text}})
            return
        output = json.loads(done.stdout.splitlines()[-1])
        self.reply(request, {"output": output, "sent": sent, "received": time.time()})

    def hold(self, request: dict[str, Any]) -> None:
        failure = self.failure(request["host"])
        if failure is not None:
            self.reply(request, {"error": failure})
            return
        *lines, asked = self.lines(request)
        path = HOME / "run" / request["host"] / "lock"
        text = json.dumps({**json.loads(asked), "path": str(path)})
        process = subprocess.Popen(
            ["sh", "-c", request["command"]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("".join(f"{line}\n" for line in [*lines, text]))
        process.stdin.flush()
        first = json.loads(process.stdout.readline())
        self.held[request["id"]] = process
        self.reply(request, {"output": first})
        process.stdout.read()
        if self.held.pop(request["id"], None) is not None:
            self.reply(request, {"lost": True})

    def release(self, number: int) -> None:
        process = self.held.pop(number, None)
        if process is not None and process.stdin is not None:
            process.stdin.close()
            process.wait()


def main() -> None:
    machines = Machines()
    for line in sys.stdin:
        request = json.loads(line)
        match request["do"]:
            case "machines":
                machines.passwords = {
                    name: it["password"] for name, it in request["machines"].items()
                }
            case "run" | "hold":
                work = machines.run if request["do"] == "run" else machines.hold
                threading.Thread(target=work, args=(request,), daemon=True).start()
            case "release":
                machines.release(request["id"])
    for number in list(machines.held):
        machines.release(number)


if __name__ == "__main__":
    main()
