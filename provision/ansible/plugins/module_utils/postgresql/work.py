"""Brings a machine's server about: the cluster, its settings, what it holds, its replication."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import cluster, statements
from .client import kept_verifiers, psql, stands
from .content import content_differences, server_differences
from .failure import WorkError
from .units import UNIT, active, systemctl
from .waiting import within

DIVERGED = "requested timeline"
"""In the log of a replica that has gone another way than its primary; it does not start then."""
SQL_SECONDS = 1800
"""A database or an extension is made within seconds; a busy disk takes its time."""
STREAMING_SECONDS = 30
"""A replica that its primary lets in streams within a moment."""
STEADY_SECONDS = 2
"""A refusal comes within milliseconds."""


class Server:
    """The server of one machine, as the module's parameters describe it.

    Parameters
    ----------
    given
        ``primary``, ``port``, ``directory``, ``peers``, ``slot`` and ``content``.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = given
        self.folder = Path(given["directory"], "data")
        extended = [
            name for name, item in given["content"]["databases"].items() if item["extensions"]
        ]
        self.question = " ".join([str(given["port"]), given["directory"], *extended])

    def differences(self) -> list[str]:
        """What is not as it should be, in the words of the plan."""
        found = self._look()
        if found["data"] is None:
            return ["cluster of databases is missing, wanted present"]
        if not self.given["primary"] and not found["data"]["standby"]:
            return ["server is a former primary, wanted a replica"]
        if found["error"]:
            return [f"server does not answer: {found['error']}"]
        if self.given["primary"]:
            return [
                *server_differences(found),
                *content_differences(self.given["content"], found),
                *self._slot_statements(found),
            ]
        return [
            *server_differences(found),
            *self._slot_statements(found),
            *self._replication(found),
        ]

    def bring(self) -> list[str]:
        """Make it so; what was done, a phrase each.

        Raises
        ------
        WorkError
            It cannot be done; what was done stands, and the next run goes on from there.
        """
        done: list[str] = []
        found = self._look()
        if self.given["primary"]:
            if found["data"] is None:
                cluster.make(self.folder)
                done.append("cluster of databases made")
            elif found["data"]["standby"]:
                raise WorkError(
                    "this machine is a replica and is to be the primary; promote it: provision"
                    " postgresql promote"
                )
        elif found["data"] is None or not found["data"]["standby"]:
            done.append(self._copy())
        if self.given["primary"]:
            return [*done, *self._fill(self._run(done))]
        found = self._follow(done)
        if slots := self._slot_statements(found):
            self._sql("\n".join(slots))
            done += slots
        if self._streams():
            return done
        if self._restarted():
            return [*done, "replica started anew"]
        done.append(self._copy())
        self._run(done)
        if not self._streams():
            raise WorkError(
                "the replica was made anew and does not stream; its log tells why:"
                f" journalctl --unit {UNIT}"
            )
        return done

    def _follow(self, done: list[str]) -> dict[str, Any]:
        """As :meth:`_run`; a replica that has gone another way than its primary is made anew."""
        try:
            return self._run(done)
        except WorkError as error:
            if DIVERGED not in str(error):
                raise
        done.append(self._copy())
        return self._run(done)

    def _restarted(self) -> bool:
        """Whether the replica follows when it is started anew."""
        try:
            systemctl("restart", UNIT)
        except WorkError as error:
            if DIVERGED not in str(error):
                raise
            return False
        return self._streams()

    def _streams(self) -> bool:
        """Whether the replica here follows its primary, after a while at the latest.

        A receiver calls itself streaming before its primary has let it in; one that is refused
        ends at once, and another begins.
        """
        seen: dict[int, float] = {}

        def steady() -> bool:
            found = self._look()
            if self._replication(found):
                return False
            now = time.monotonic()
            return now - seen.setdefault(found["receiver_pid"], now) >= STEADY_SECONDS

        return within(STREAMING_SECONDS, steady)

    def _run(self, done: list[str]) -> dict[str, Any]:
        """See to it that the server runs with the settings of its files; how it stands then."""
        if not active():
            systemctl("start", UNIT)
            done.append("server started")
        found = self._answering()
        if found["altered"]:
            self._sql("alter system reset all;")
        if found["altered"] or found["stale"]:
            systemctl("reload", UNIT)
            since = found["loaded"]
            within(STREAMING_SECONDS, lambda: self._answering()["loaded"] > since)
            found = self._answering()
            done.append("settings read anew")
        if found["pending"]:
            systemctl("restart", UNIT)
            found = self._answering()
            done.append("server started anew for its settings")
        return found

    def _fill(self, found: Mapping[str, Any]) -> list[str]:
        """Make roles, databases and slots; first the roles, which own the databases."""
        content = self.given["content"]
        verifiers = kept_verifiers()
        done = [*content_differences(content, found), *self._slot_statements(found)]
        lines, memberships = [statements.SILENTLY], []
        for name, role in content["roles"].items():
            one = {"roles": {name: role}, "databases": {}}
            if list(content_differences(one, found)):
                verifier = verifiers[name] if role["password"] else None
                there = found["roles"].get(name)
                lines += statements.role(name, role, there, verifier)
                memberships += list(statements.memberships(name, role, there))
        lines += memberships
        for name, database in content["databases"].items():
            one = {"roles": {}, "databases": {name: {**database, "extensions": []}}}
            if list(content_differences(one, found)):
                lines += statements.database(name, database, found["databases"].get(name))
        lines += self._slot_statements(found)
        if done:
            self._sql("\n".join(lines))
        for name, database in content["databases"].items():
            there = found["databases"].get(name, {"extensions": []})["extensions"]
            if set(database["extensions"]) - set(there):
                self._sql("\n".join(statements.extensions(database)), name)
        return done

    def _slot_statements(self, found: Mapping[str, Any]) -> list[str]:
        # A replica has none, or it would keep the log for nobody.
        peers = self.given["peers"] if self.given["primary"] else []
        wanted = {peer["slot"] for peer in peers}
        # A slot that has lost its place in the log is of no use to anybody.
        lost = {name for name, slot in found["slots"].items() if slot["lost"]}
        present = set(found["slots"])
        dropped = statements.slots(wanted - lost, present)
        return [*dropped, *statements.slots(wanted & lost, set())]

    def _replication(self, found: Mapping[str, Any]) -> list[str]:
        state = found.get("receiver") or "absent"
        return [] if state == "streaming" else [f"replica is {state}, wanted streaming"]

    def _copy(self) -> str:
        """Make this machine's replica anew from the primary; in a few words."""
        kept = ""
        if self.folder.exists():
            if not self._primary_answers():
                raise WorkError("the primary does not answer, and nothing was touched here")
            systemctl("stop", UNIT)
            kept = f"; what was here is kept as {cluster.put_aside(self.folder)}"
        [peer] = self.given["peers"]
        cluster.copy(self.folder, peer, self.given["port"], self.given["slot"])
        return f"replica of {peer['name']} made{kept}"

    def _primary_answers(self) -> bool:
        [peer] = self.given["peers"]
        command = ["pg_isready", "--quiet", f"--host={peer['address']}"]
        done = subprocess.run([*command, f"--port={self.given['port']}"], check=False)
        return done.returncode == 0

    def _answering(self) -> dict[str, Any]:
        found = self._look()
        if found["error"]:
            raise WorkError(
                f"the server does not answer: {found['error']}; its log: journalctl --unit {UNIT}"
            )
        return found

    def _look(self) -> dict[str, Any]:
        found: dict[str, Any] = stands([self.question])[self.question]
        return found

    def _sql(self, script: str, database: str = "postgres") -> None:
        try:
            psql(str(self.given["port"]), script, database, seconds=SQL_SECONDS)
        except OSError as error:
            raise WorkError(f"PostgreSQL refuses: {error}") from error
