"""``check``: every finding about every machine, from one reading."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from provision.app import Application
from provision.checks import Finding, check_queries, run_checks
from provision.facts import Facts


def check_site(app: Application) -> list[Finding]:
    """Read all machines at once and judge them; errors first."""
    facts = Facts(app.machines.read(check_queries(app.site)))
    return run_checks(app.site, facts)


def render(findings: Sequence[Finding]) -> Iterator[str]:
    """The findings as text, each with what was found, what is wanted and the fix."""
    for finding in findings:
        yield f"{finding.severity}: {finding.host or 'site'}: {finding.what}"
        for label in ("found", "wanted", "fix"):
            text = getattr(finding, label)
            if text:
                yield f"  {label + ':':8}{text}"
    errors = sum(finding.severity == "error" for finding in findings)
    yield (
        f"{errors} errors, {len(findings) - errors} warnings"
        if findings
        else "every machine is fit; next: provision plan"
    )
