"""What is told of a repository: findings that name no machine."""

from __future__ import annotations

from provision.checks.finding import Finding, error, warning

AGAIN = "then: provision check"


class Told:
    """Gathers findings."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def error(self, what: str, *, found: str = "", wanted: str = "", fix: str = "") -> None:
        """Something that Argo CD would stumble over."""
        fix = fix or f"correct it in the repository, {AGAIN}"
        self.findings.append(error("", what, found=found, wanted=wanted, fix=fix))

    def warning(self, what: str, *, found: str = "", wanted: str = "", fix: str = "") -> None:
        """Something for the operator to know."""
        self.findings.append(warning("", what, found=found, wanted=wanted, fix=fix))

    def unreadable(self, who: str, path: str, problem: OSError) -> None:
        """A file or folder that the system does not let us read."""
        self.error(f"{who}: {path} cannot be read", found=problem.strerror or str(problem))
