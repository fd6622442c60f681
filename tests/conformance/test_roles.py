"""Every role: its variables are declared once, its own, and nobody else's."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from jinja2 import Environment, meta

from provision.phase import AnsiblePhase, Context, Phase
from provision.plan import discover
from provision.state import declared_packages

ROOT = Path(__file__).parents[2]
BUILTIN = {"item", "inventory_hostname", "omit", "ansible_check_mode", "ansible_diff_mode"}
"""Variables that are there without anybody's declaring them."""


def options(role: Path) -> dict[str, Any]:
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    found: dict[str, Any] = specs["main"].get("options") or {}
    return found


def mapping(path: Path) -> dict[str, Any]:
    return (yaml.safe_load(path.read_text()) if path.exists() else None) or {}


@pytest.mark.parametrize(
    "path",
    [
        "README.md",
        "state.yml",
        "defaults/main.yml",
        "meta/main.yml",
        "meta/argument_specs.yml",
        "tasks/main.yml",
        "tasks/verify.yml",
        "tasks/remove.yml",
        "molecule/default/molecule.yml",
    ],
)
def test_a_role_is_whole(role: Path, path: str) -> None:
    assert (role / path).is_file(), f"{role.name} lacks {path}"


def test_defaults_are_those_of_the_specification(role: Path) -> None:
    defaults, specs = mapping(role / "defaults" / "main.yml"), options(role)
    declared = {name: spec["default"] for name, spec in specs.items() if "default" in spec}
    assert defaults == declared


def test_what_has_no_default_is_required(role: Path) -> None:
    for name, spec in options(role).items():
        assert ("default" in spec) != bool(spec.get("required")), name


def test_public_variables_carry_the_roles_name(role: Path) -> None:
    for name, spec in options(role).items():
        assert name.startswith(f"{role.name}_"), name
        assert spec.get("description"), f"{name} has no description"
        assert spec.get("type"), f"{name} has no type"


def test_internal_variables_carry_the_roles_name(role: Path) -> None:
    for name in mapping(role / "vars" / "main.yml"):
        assert name.startswith(f"__{role.name}_"), name


def test_every_entry_point_takes_the_same_variables(role: Path) -> None:
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    for name, spec in specs.items():
        assert set(spec.get("options") or {}) <= set(options(role)), name


def test_the_phases_variables_are_within_the_specification(phase: Phase, context: Context) -> None:
    """Judged by Ansible's own validator, which also checks types and choices."""
    if not isinstance(phase, AnsiblePhase):
        return
    specs = options(phase.role)
    for host in phase.hosts(context):
        variables = dict(phase.variables(context, host))
        assert set(variables) <= set(specs), "a misspelt optional variable passes silently"
        result = ArgumentSpecValidator(specs).validate(variables)
        assert result.error_messages == []
        assert {name: result.validated_parameters[name] for name in variables} == variables, (
            "Ansible would change the value's type"
        )


def test_a_bundle_knows_every_package_by_the_roles_list(phase: Phase, context: Context) -> None:
    """Without a site: what a loop goes over must have a default that names it."""
    if not isinstance(phase, AnsiblePhase):
        return
    declared = declared_packages(phase.role)
    for host in phase.hosts(context):
        assert set(phase.desired(context, host).packages) <= set(declared)


EXPRESSIONS = ("when", "loop", "changed_when", "failed_when", "until", "that")
"""Keys whose text Ansible and state.yml evaluate without braces."""


def texts(value: Any, *, expression: bool = False) -> Iterator[str]:
    """Every text in YAML data, as jinja2 takes it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            bare = key in EXPRESSIONS and not (key == "loop" and isinstance(inner, list))
            yield from texts(inner, expression=bare)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner, expression=expression)
    elif isinstance(value, str):
        bare = expression and "{{" not in value
        # Backslashes of regular expressions are no escapes here.
        text = value.replace("\\", "\\\\")
        yield f"{{{{ {text} }}}}" if bare else text


class EveryName(dict[str, Any]):
    """Filters and tests by any name: Ansible has more than jinja2 itself."""

    def __contains__(self, name: object) -> bool:
        return True

    def get(self, name: str, default: Any = None) -> Any:
        return str


def used(role: Path) -> set[str]:
    environment = Environment()  # noqa: S701 - parses only
    environment.filters, environment.tests = EveryName(), EveryName()
    found: set[str] = set()
    sources: list[str] = [path.read_text() for path in (role / "templates").rglob("*.j2")]
    for path in (role / "state.yml", *(role / "tasks").glob("*.yml"), role / "vars" / "main.yml"):
        if path.exists():
            sources += texts(yaml.safe_load(path.read_text()))
    for source in sources:
        found |= meta.find_undeclared_variables(environment.parse(source))
    return found


def registered(role: Path) -> set[str]:
    found: set[str] = set()
    for path in (role / "tasks").glob("*.yml"):
        text = path.read_text()
        found |= set(re.findall(r"register: *(\w+)", text))
        found |= set(re.findall(r"loop_var: *(\w+)", text))
        for task in yaml.safe_load(text) or []:
            found |= set(task.get("vars", {}))
            found |= set(task.get("ansible.builtin.set_fact", {}))
    return found


def assigned(role: Path) -> set[str]:
    """Names that templates set themselves."""
    sources = (path.read_text() for path in (role / "templates").rglob("*.j2"))
    return {name for source in sources for name in re.findall(r"\{%-?\s*set\s+(\w+)", source)}


def test_a_role_reads_no_other_roles_variables(role: Path) -> None:
    own = set(options(role)) | set(mapping(role / "vars" / "main.yml")) | registered(role)
    strange = {
        name
        for name in used(role) - own - BUILTIN
        if not name.startswith(("provision_", "lookup", "query", "range", "dict", "true", "false"))
    }
    assert strange - assigned(role) == set()


def test_every_variable_is_used(role: Path) -> None:
    task_text = "".join(path.read_text() for path in (role / "tasks").glob("*.yml"))
    others = {
        name
        for name in set(options(role)) | set(mapping(role / "vars" / "main.yml"))
        if name not in used(role) and name not in task_text
    }
    assert others == set()


def test_registered_variables_carry_the_roles_name(role: Path) -> None:
    for name in registered(role):
        assert name.startswith(f"__{role.name}_"), name


@pytest.mark.parametrize(
    ("word", "why"),
    [
        (r"\bgroups\[", "topology is decided in Python"),
        (r"\bhostvars\b", "topology is decided in Python"),
        (r"\bset_fact\b", "facts are not for passing things on"),
        (r"\bignore_errors\b", "an error is an error"),
        (r"\bpause:|\bwait_for:.*sleep|\bsleep \d", "waiting has a name: gates"),
        (r"\blineinfile\b|\bblockinfile\b", "whole files or drop-ins"),
        (r"https?://(?!127\.0\.0\.1|localhost|\{\{)[a-z0-9-]+\.(com|org|io|net)", "no internet"),
    ],
)
def test_what_no_role_holds(role: Path, word: str, why: str) -> None:
    for path in [*role.rglob("tasks/*.yml"), *(role / "templates").rglob("*.j2")]:
        code = re.sub(r"^(\s*#|Documentation=).*$", "", path.read_text(), flags=re.MULTILINE)
        assert not re.search(word, code), f"{path}: {why}"


def test_the_work_is_the_list(role: Path) -> None:
    """``site_state`` once, for what ``state.yml`` lists and what an optional one is set to."""
    tasks = yaml.safe_load((role / "tasks" / "main.yml").read_text())
    lists = [task for task in tasks if "site_state" in task]
    optional = any(phase.name == role.name and phase.settings.optional for phase in discover())
    assert len(lists) == (1 if optional or mapping(role / "state.yml") else 0)


def test_removing_and_verifying_use_the_same_list(role: Path) -> None:
    if not mapping(role / "state.yml"):
        return
    for name, state in (("remove", "absent"), ("verify", "verified")):
        tasks = yaml.safe_load((role / "tasks" / f"{name}.yml").read_text())
        states = [task["site_state"].get("state") for task in tasks if task.get("site_state")]
        assert states == [state], f"tasks/{name}.yml"


def test_templates_are_all_used(role: Path) -> None:
    """Each is named by state.yml, by a task, or by the path that it stands for."""
    state = mapping(role / "state.yml")
    own = "".join(
        path.read_text() for path in [*(role / "tasks").glob("*.yml"), role / "state.yml"]
    )
    phase = next(item for item in discover() if item.name == role.name)
    code = Path(str(__import__("inspect").getfile(type(phase)))).read_text()
    paths = {entry["path"] for entry in state.get("files", []) if isinstance(entry, dict)}
    patterns = [re.escape(re.sub(r"\{\{.*?\}\}", "\0", path)).replace("\0", ".*") for path in paths]
    for template in (role / "templates").rglob("*.j2"):
        relative = template.relative_to(role / "templates").as_posix()
        target = "/" + relative.removesuffix(".j2")
        known = any(re.fullmatch(pattern, target) for pattern in patterns)
        assert known or relative in own or template.stem in code or "paths." in code, relative


def test_its_readme_is_what_its_specification_says(role: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "role_readmes.py", "--check", role.name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_role_belongs_to_a_phase() -> None:
    phases = {phase.name for phase in discover() if isinstance(phase, AnsiblePhase)}
    roles = {path.name for path in (ROOT / "roles").iterdir()}
    assert roles == phases
