"""``new component``: the files of a component, ready to fill in; no existing file is edited."""

from __future__ import annotations

import re
from pathlib import Path

from provision.errors import UsageError
from provision.plan import discover

SCAFFOLD = Path(__file__).resolve().parent.parent / "scaffold"
SNAKE_CASE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def scaffold_component(name: str, after: str, root: Path = Path()) -> list[Path]:
    """Write the files of a new component below ``root``, a checkout of the project.

    Raises
    ------
    UsageError
        The name is not in snake_case or is taken, or the phase that it should
        come after does not exist. Nothing is written then.
    """
    import jinja2

    names = [phase.name for phase in discover()]
    if not SNAKE_CASE.fullmatch(name):
        raise UsageError("a component's name is in snake_case", found=name, wanted="metrics_server")
    if after not in names:
        raise UsageError(f"there is no phase {after}", wanted=f"one of: {', '.join(names)}")
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - source files, not HTML
    )
    words = name.replace("_", " ")
    variables = {
        "name": name,
        "after": after,
        "words": words,
        "title": words.title().replace(" ", ""),
    }
    rendered = {
        root / _target(source, name): environment.from_string(source.read_text()).render(variables)
        for source in sorted(SCAFFOLD.rglob("*.j2"))
    }
    taken = [path for path in rendered if path.exists()]
    if taken:
        raise UsageError(
            f"there is a component {name} already", found=", ".join(map(str, taken[:3]))
        )
    for path, text in rendered.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return list(rendered)


def _target(source: Path, name: str) -> Path:
    relative = source.relative_to(SCAFFOLD).with_suffix("")
    return Path(*(part.replace("__name__", name) for part in relative.parts))
