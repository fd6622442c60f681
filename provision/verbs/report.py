"""The last words of a run: what is so now, what is not, and what to run next."""

from __future__ import annotations

from provision.app import Application
from provision.engine import Outcome
from provision.errors import ExitCode


def end_report(app: Application, outcome: Outcome) -> tuple[str, int]:
    """The closing text and the exit code of ``up``."""
    lines: list[str] = []
    if outcome.seconds:
        took = ", ".join(f"{name} {seconds} s" for name, seconds in outcome.seconds.items())
        lines.append(f"ran: {took}")
    for name, why in outcome.failed.items():
        lines.append(f"{name}: FAILED: {why}")
    if outcome.stopped:
        lines.append(f"not finished: {outcome.stopped}")
    if outcome.complete:
        lines.append(
            f"{app.site.name} is as its site file says"
            if outcome.changed
            else f"{app.site.name} is as its site file says; nothing was done"
        )
        lines.append(f"kubectl: export KUBECONFIG={app.secrets.path / 'kubeconfig'}")
        return "\n".join(lines), ExitCode.OK
    if outcome.error is None:
        lines.append("next: provision up; what it would do: provision plan")
    code = ExitCode.INTERRUPTED if outcome.word == "interrupted" else ExitCode.FAILED
    return "\n".join(lines), code
