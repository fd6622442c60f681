"""Who may import whom: ``site ← facts, checks ← phase ← engine ← app ← cli``."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "provision"
SHIPPED = PACKAGE / "ansible" / "plugins"
"""Loaded by Ansible, in part on machines; judged by rules of its own below."""

LAYERS = (
    ("site", "state", "errors", "secretspec", "yamlfile", "explain"),
    ("facts", "checks", "observe"),
    ("phase", "secrets", "bundle"),
    ("plan", "effects", "watch"),
    ("engine",),
    ("app",),
    ("verbs",),
    (
        *("cli", "cli_common", "cli_secrets", "cli_vault", "cli_platform", "cli_postgresql"),
        "cli_bundle",
        "cli_handoff",
        "cli_watch",
    ),
)
"""From the lowest: a module reaches, by whatever way, only its own layer and lower ones."""

OUTER = ("__main__", *(name for layer in LAYERS[-3:] for name in layer))


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    module_name(path): path
    for path in PACKAGE.rglob("*.py")
    if SHIPPED not in path.parents and module_name(path)
}


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that counts when the program runs; imports for types alone do not."""
    for child in ast.iter_child_nodes(tree):
        for_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        if not for_types:
            yield child
            yield from nodes(child)


@cache
def imports(name: str) -> frozenset[str]:
    """Modules of the project that ``name`` imports itself, inside functions too."""
    found: set[str] = set()
    for node in nodes(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    own = {item.removeprefix("provision.") for item in found if item.startswith("provision.")}
    return frozenset(own & MODULES.keys())


def reached(name: str) -> dict[str, str]:
    """Every module that ``name`` reaches, and the way there."""
    ways = {name: name}
    todo = [name]
    while todo:
        current = todo.pop()
        for target in sorted(imports(current)):
            if target not in ways:
                ways[target] = f"{ways[current]} → {target}"
                todo.append(target)
    return ways


def layer_of(name: str) -> int | None:
    top = name.split(".", 1)[0]
    return next((place for place, names in enumerate(LAYERS) if top in names), None)


def within(name: str, *packages: str) -> bool:
    return name.split(".", 1)[0] in packages


@pytest.mark.parametrize("name", sorted(MODULES))
def test_nothing_reaches_a_higher_layer(name: str) -> None:
    own = layer_of(name)
    if own is None:
        return
    for target, way in reached(name).items():
        place = layer_of(target)
        assert place is None or place <= own, way


@pytest.mark.parametrize("name", sorted(MODULES))
def test_adapters_import_the_core_never_the_reverse(name: str) -> None:
    if within(name, "adapters", *OUTER):
        return
    for target, way in reached(name).items():
        assert not within(target, "adapters"), way


@pytest.mark.parametrize("name", sorted(name for name in MODULES if within(name, "adapters")))
def test_adapters_know_nothing_of_components_or_of_who_runs_them(name: str) -> None:
    for target, way in reached(name).items():
        assert not within(target, "phases", "plan", "engine", *OUTER), way


@pytest.mark.parametrize("name", sorted(MODULES))
def test_only_the_composition_root_builds_adapters(name: str) -> None:
    if within(name, "adapters", "app"):
        return
    assert not [target for target in imports(name) if within(target, "adapters")]


@pytest.mark.parametrize("name", sorted(name for name in MODULES if name.startswith("phases.")))
def test_a_component_knows_only_what_it_comes_after(name: str) -> None:
    from provision.plan import discover

    phases = {phase.name: phase for phase in discover()}
    before, todo = set(), list(phases[name.removeprefix("phases.")].after)
    while todo:
        current = todo.pop()
        before.add(current)
        todo.extend(phases[current].after)
    others = {
        target.removeprefix("phases.") for target in imports(name) if within(target, "phases")
    }
    assert others - {"phases"} <= before
    assert not [target for target in imports(name) if within(target, "engine", "effects", *OUTER)]


@pytest.mark.parametrize("name", sorted(MODULES))
def test_no_module_imports_itself_through_others(name: str) -> None:
    """At the top of modules, that is; inside a function it can be meant."""
    found: set[str] = set()
    todo = [name]
    while todo:
        for target in top_imports(todo.pop()):
            assert target != name, f"{name} imports itself"
            if target not in found:
                found.add(target)
                todo.append(target)


@cache
def top_imports(name: str) -> frozenset[str]:
    found: set[str] = set()
    for node in ast.parse(MODULES[name].read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    own = {item.removeprefix("provision.") for item in found if item.startswith("provision.")}
    # A package's modules may import each other's names from it: its own file is no cycle.
    return frozenset((own & MODULES.keys()) - {name, name.rpartition(".")[0]})


TO_MACHINES = sorted(
    [
        *(PACKAGE / "adapters" / "onmachine").glob("*.py"),
        PACKAGE / "adapters" / "reader.py",
        *(SHIPPED / "module_utils").rglob("*.py"),
        *(SHIPPED / "modules").glob("*.py"),
    ]
)


@pytest.mark.parametrize("path", TO_MACHINES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_travels_to_machines_needs_nothing_but_python_there(path: Path) -> None:
    """Ansible sends ``ansible.module_utils`` along; everything else must be there already."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        for name in names:
            standard = name.split(".", 1)[0] in sys.stdlib_module_names
            sent = name.startswith(("ansible.module_utils", "provision.adapters.onmachine"))
            sent = sent or name in ("provision.adapters", "provision.adapters.reader")
            debian = name in ("apt", "apt_pkg")
            assert standard or sent or debian, name
