"""The documentation's order of pages; a component's page is found, not listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FIRST = (
    "index.md",
    "first-notebook.md",
    "site-reference.md",
    "operations.md",
    "watch.md",
    "errors.md",
)
LAST = ("architecture.md", "contributing.md", "measurements.md", "scale.md")


def on_config(config: Any) -> Any:
    """Put the pages in order: the user's, every component's, the developer's."""
    docs = Path(config["docs_dir"])
    components = sorted(page.relative_to(docs).as_posix() for page in docs.glob("components/*.md"))
    named = {*FIRST, *LAST, *components}
    others = sorted(
        page.relative_to(docs).as_posix()
        for page in docs.rglob("*.md")
        if page.relative_to(docs).as_posix() not in named
    )
    config["nav"] = [*FIRST, *others, {"Components": components}, *LAST]
    return config
