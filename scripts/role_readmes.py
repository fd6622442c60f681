"""Writes roles/*/README.md from each role's argument specification and list.

.venv/bin/python scripts/role_readmes.py [ROLE…]          # write them
.venv/bin/python scripts/role_readmes.py --check [ROLE…]  # exit 1 where one differs
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parents[1] / "roles"

KINDS = {
    "packages": "Packages",
    "modules": "Kernel modules",
    "sysctls": "Kernel parameters",
    "directories": "Directories",
    "files": "Files",
    "absent": "Absent",
    "units": "Units",
}


def readme(role: Path) -> str:
    """The role's README."""
    spec = _load(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]
    state = _load(role / "state.yml")
    page = f"docs/components/{role.name}.md"
    parts = [
        f"# {role.name}\n",
        f"{spec['short_description'].rstrip('.')}.\n",
        *(f"{text}\n" for text in _texts(spec.get("description", []))),
        f"Its component's page: [{page}](../../{page}).\n",
        "## Variables\n",
        *_variables(spec.get("options") or {}),
        "## What it keeps\n",
        *_state(state),
        "## Entry points\n",
        *_entries(role),
        "This file is made by `scripts/role_readmes.py`.\n",
    ]
    return "\n".join(parts)


def _variables(options: Mapping[str, Any]) -> Iterator[str]:
    if not options:
        yield "None.\n"
        return
    rows = ["| name | type | default | meaning |", "|---|---|---|---|"]
    for name, option in options.items():
        default = "**required**" if option.get("required") else _code(option.get("default"))
        kind = option["type"]
        if option.get("elements"):
            kind += f" of {option['elements']}"
        meaning = " ".join(_texts(option["description"]))
        if option.get("choices"):
            meaning += f" One of {', '.join(_code(choice) for choice in option['choices'])}."
        rows.append(f"| `{name}` | {kind} | {default} | {_cell(meaning)} |")
    yield "\n".join(rows) + "\n"


def _state(state: Mapping[str, Any]) -> Iterator[str]:
    if not state:
        yield "Nothing on the machine itself: see its tasks.\n"
        return
    yield "`state.yml` lists it; `provision plan` names each of these that differs.\n"
    for kind, title in KINDS.items():
        if state.get(kind):
            names = dict.fromkeys(_name(entry) for entry in state[kind])
            yield f"- {title}: {', '.join(names)}"
    yield ""


def _entries(role: Path) -> Iterator[str]:
    meanings = {
        "main.yml": "brings it about",
        "verify.yml": "asserts that it works",
        "remove.yml": "takes it off again",
    }
    for name, meaning in meanings.items():
        if (role / "tasks" / name).exists():
            yield f"- `tasks/{name}` {meaning}"
    yield ""


def _name(entry: Any) -> str:
    if isinstance(entry, str):
        return f"`{entry}`"
    name = f"`{entry.get('path') or entry.get('name')}`"
    if "loop" in entry:
        name += f" for each of `{entry['loop']}`"
    if "when" in entry:
        name += f" (when `{entry['when']}`)"
    return name


def _load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text("utf-8")) or {}
    return found


def _texts(value: str | Sequence[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _code(value: Any) -> str:
    return _cell(f"`{json.dumps(value)}`")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main(arguments: list[str]) -> int:
    """Write the files, or say which differ."""
    check = arguments[:1] == ["--check"]
    names = arguments[1:] if check else arguments
    wrong = 0
    for role in sorted(ROLES / name for name in names or [path.name for path in ROLES.iterdir()]):
        made, path = readme(role), role / "README.md"
        if not check:
            path.write_text(made, "utf-8")
        elif not path.exists() or path.read_text("utf-8") != made:
            sys.stderr.write(f"{path} differs from the role's specification; run: {sys.argv[0]}\n")
            wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
