"""What a role keeps true on a machine, as one list.

``roles/<name>/state.yml`` declares packages, kernel modules, sysctls,
directories, files, absent paths and systemd units. :func:`desired_state`
resolves it for one machine; :func:`differences` compares it with what the
machine has. The probe, the plan, the Ansible module ``site_state``, ``verify``
and ``remove`` all use this same list, so the plan is the work.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar

import jinja2
import tomli_w
import yaml
from jinja2.environment import TemplateExpression
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from provision.templates import compiled_templates

Mode = Annotated[str, Field(pattern=r"^0[0-7]{3,4}$")]


class Resolver(Protocol):
    """Knows the digests of what is not a template."""

    def blob(self, name: str) -> str:
        """sha256 of the bundle's file ``name``, in hexadecimal."""

    def secret(self, name: str) -> str | None:
        """sha256 of the secret ``name``, or None while it still has to be made."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    when: str | None = None
    """Jinja expression; the entry counts where it is true."""
    loop: str | None = None
    """Jinja expression for a list; the entry counts once for each ``item``."""


class _Named(_Entry):
    name: str


class _Sysctl(_Named):
    value: str


class _Directory(_Entry):
    path: str
    mode: Mode = "0755"
    owner: str = "root"
    group: str = "root"


class _File(_Entry):
    path: str
    mode: Mode = "0644"
    owner: str = "root"
    group: str = "root"
    template: str | None = None
    blob: str | None = None
    secret: str | None = None
    push: bool = False
    """Take the blob from the files of the machine's own depot, which come over SSH, instead of
    fetching it from a depot that answers."""
    validate_with: str | None = Field(default=None, alias="validate")
    """Command that must accept the new file, ``%s`` in its place."""
    restart: tuple[str, ...] = ()
    """Units to restart when the file changes."""
    restore: bool = False
    """Put back what stood here before when the role is removed."""


class _Unit(_Named):
    enabled: bool = True
    active: bool = True
    keep: bool = False
    """Let the unit run on when the role is removed, by its package's own configuration."""


class _Absent(_Entry):
    path: str


class RoleState(BaseModel):
    """The schema of ``state.yml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    packages: tuple[_Named | str, ...] = ()
    modules: tuple[_Named | str, ...] = ()
    sysctls: tuple[_Sysctl, ...] = ()
    directories: tuple[_Directory, ...] = ()
    files: tuple[_File, ...] = ()
    absent: tuple[_Absent, ...] = ()
    units: tuple[_Unit, ...] = ()


@dataclass(frozen=True)
class Directory:
    """A directory with its permissions."""

    path: str
    mode: str
    owner: str
    group: str


@dataclass(frozen=True)
class File:
    """A file with its digest and permissions, and where its bytes come from.

    ``sha256`` is None for a secret that has yet to be made.
    """

    path: str
    mode: str
    owner: str
    group: str
    sha256: str | None
    source: Literal["content", "blob", "push", "secret"]
    content: str | None = None
    name: str | None = None
    validate: str | None = None
    restart: tuple[str, ...] = ()
    restore: bool = False


@dataclass(frozen=True)
class Unit:
    """A systemd unit and how it should stand."""

    name: str
    enabled: bool
    active: bool
    keep: bool = False


@dataclass(frozen=True)
class DesiredState:
    """What one role keeps true on one machine, fully resolved."""

    packages: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    directories: tuple[Directory, ...] = ()
    files: tuple[File, ...] = ()
    absent: tuple[str, ...] = ()
    units: tuple[Unit, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as the Ansible module takes it."""
        return asdict(self)


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it should be on one machine."""

    kind: str
    name: str
    found: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name} is {self.found}, wanted {self.wanted}"


def load_role_state(role: Path) -> RoleState:
    """Read ``state.yml`` of the role folder ``role``."""
    path = role / "state.yml"
    return _load_role_state(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _load_role_state(path: Path, _mtime_ns: int) -> RoleState:
    """Parsed once for all machines, and anew when the file was changed."""
    return RoleState.model_validate(_load(path))


def declared_packages(role: Path) -> tuple[str, ...]:
    """Every Debian package that a role's list may name, whatever the site and the machine.

    Conditions count as true, and loops go over the role's own defaults.
    """
    renderer = _Renderer(role, role_defaults(role))
    entries = (
        entry if isinstance(entry, str) else entry.model_copy(update={"when": None})
        for entry in load_role_state(role).packages
    )
    return tuple(renderer.names(tuple(entries)))


def role_defaults(role: Path) -> dict[str, Any]:
    """Literal variables of a role: ``defaults/main.yml`` below ``vars/main.yml``."""
    merged: dict[str, Any] = {}
    for name in ("defaults/main.yml", "vars/main.yml"):
        path = role / name
        if path.exists():
            merged.update(_load_variables(path, path.stat().st_mtime_ns))
    return merged


@lru_cache(maxsize=128)
def _load_variables(path: Path, _mtime_ns: int) -> dict[str, Any]:
    """Parsed once for all machines, and anew when the file was changed."""
    return _load(path)


def _load(path: Path) -> dict[str, Any]:
    return yaml.load(path.read_text("utf-8"), Loader=yaml.CSafeLoader) or {}


def memory_of(component: str) -> str:
    """File on machines with the settings of an optional component.

    What the site file does not name any more can be taken off by what it was made with.
    """
    return f"/var/lib/provision/component-{component}.json"


def _remembered(state: DesiredState, component: str, settings: Any) -> DesiredState:
    content = json.dumps(settings, sort_keys=True, indent=2) + "\n"
    file = File(
        path=memory_of(component),
        mode="0600",
        owner="root",
        group="root",
        sha256=hashlib.sha256(content.encode()).hexdigest(),
        source="content",
        content=content,
    )
    return replace(state, files=(*state.files, file))


def desired_state(role: Path, variables: Mapping[str, Any], resolver: Resolver) -> DesiredState:
    """Resolve a role's ``state.yml`` for one machine.

    Where ``variables`` have the role among ``provision_components``, what is said of it there is
    part of the state, in the file :func:`memory_of` names.

    Parameters
    ----------
    role
        The role's folder.
    variables
        The machine's variables, laid over the role's own defaults.
    resolver
        Digests of blobs and secrets.

    Raises
    ------
    jinja2.UndefinedError
        A template names a variable that the role does not have.
    """
    renderer = _Renderer(role, {**role_defaults(role), **variables})
    try:
        declared = load_role_state(role)
    except ValidationError as error:
        raise ValueError(f"{role / 'state.yml'}: {error}") from error
    state = DesiredState(
        packages=tuple(renderer.names(declared.packages)),
        modules=tuple(renderer.names(declared.modules)),
        sysctls={
            text(entry.name): text(entry.value) for entry, text in renderer.each(declared.sysctls)
        },
        directories=tuple(
            Directory(text(entry.path), text(entry.mode), text(entry.owner), text(entry.group))
            for entry, text in renderer.each(declared.directories)
        ),
        files=tuple(
            renderer.file(entry, text, resolver) for entry, text in renderer.each(declared.files)
        ),
        absent=tuple(text(entry.path) for entry, text in renderer.each(declared.absent)),
        units=tuple(
            Unit(text(entry.name), entry.enabled, entry.active, entry.keep)
            for entry, text in renderer.each(declared.units)
        ),
    )
    settings = variables.get("provision_components", {}).get(role.name)
    return state if settings is None else _remembered(state, role.name, settings)


def _to_yaml(value: Any) -> str:
    text: str = yaml.dump(value, Dumper=yaml.CSafeDumper, sort_keys=False, default_flow_style=False)
    return text


class _Text:
    """Renders the short strings of one entry, with ``item`` where it loops."""

    def __init__(self, environment: jinja2.Environment, variables: Mapping[str, Any]) -> None:
        self.environment = environment
        self.variables = variables

    def __call__(self, source: str) -> str:
        # Most strings are plain, and compiling a template costs a hundred times a look.
        if "{" not in source:
            return source
        return _template(self.environment, source).render(self.variables)


E = TypeVar("E", bound=_Entry)


@lru_cache(maxsize=64)
def _environment(templates: Path) -> jinja2.Environment:
    """One environment a role: a template is compiled once for all machines."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        bytecode_cache=compiled_templates(),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - configuration files, not HTML
    )
    environment.filters.update(
        to_json=lambda value, **kw: json.dumps(value, sort_keys=True, **kw),
        to_yaml=_to_yaml,
        to_toml=tomli_w.dumps,
        b64encode=lambda value: base64.b64encode(value.encode()).decode(),
    )
    return environment


@lru_cache(maxsize=4096)
def _template(environment: jinja2.Environment, source: str) -> jinja2.Template:
    return environment.from_string(source)


@lru_cache(maxsize=4096)
def _expression(environment: jinja2.Environment, source: str) -> TemplateExpression:
    return environment.compile_expression(source, undefined_to_none=False)


class _Renderer:
    def __init__(self, role: Path, variables: Mapping[str, Any]) -> None:
        self.variables = variables
        self.environment = _environment(role / "templates")

    def each(self, entries: tuple[E, ...]) -> Iterator[tuple[E, _Text]]:
        for entry in entries:
            for scope in self._scopes(entry):
                if entry.when is None or self._expression(entry.when, scope):
                    yield entry, _Text(self.environment, scope)

    def names(self, entries: tuple[_Named | str, ...]) -> Iterator[str]:
        named = tuple(_Named(name=item) if isinstance(item, str) else item for item in entries)
        return (text(entry.name) for entry, text in self.each(named))

    def file(self, entry: _File, text: _Text, resolver: Resolver) -> File:
        path = text(entry.path)
        file = File(
            path=path,
            mode=entry.mode,
            owner=text(entry.owner),
            group=text(entry.group),
            sha256=None,
            source="content",
            validate=entry.validate_with,
            restart=tuple(map(text, entry.restart)),
            restore=entry.restore,
        )
        if entry.secret is not None:
            name = text(entry.secret)
            return replace(file, sha256=resolver.secret(name), source="secret", name=name)
        if entry.blob is not None:
            name = text(entry.blob)
            source: Literal["push", "blob"] = "push" if entry.push else "blob"
            return replace(file, sha256=resolver.blob(name), source=source, name=name)
        template = text(entry.template or f"{path.lstrip('/')}.j2")
        content = self.environment.get_template(template).render(text.variables)
        return replace(file, sha256=hashlib.sha256(content.encode()).hexdigest(), content=content)

    def _scopes(self, entry: _Entry) -> Iterator[Mapping[str, Any]]:
        if entry.loop is None:
            yield self.variables
            return
        for item in self._expression(entry.loop, self.variables):
            yield {**self.variables, "item": item}

    def _expression(self, source: str, scope: Mapping[str, Any]) -> Any:
        return _expression(self.environment, source)(**scope)


def differences(desired: DesiredState, observed: Mapping[str, Any]) -> list[Difference]:
    """Compare ``desired`` with the reader's answer for the same machine.

    ``observed`` is what ``provision/adapters/reader.py`` prints for the query
    that :func:`provision.facts.query_for` made of the same desired state.
    """
    return [
        *_package_differences(desired, observed["packages"]),
        *_module_differences(desired, observed["modules"]),
        *_sysctl_differences(desired, observed["sysctls"]),
        *_path_differences(desired, observed["files"]),
        *_unit_differences(desired, observed["units"]),
    ]


def _package_differences(
    desired: DesiredState, observed: Mapping[str, str | None]
) -> Iterator[Difference]:
    for name in desired.packages:
        if observed[name] is None:
            yield Difference("package", name, "not installed", "installed")


def _module_differences(
    desired: DesiredState, observed: Mapping[str, bool]
) -> Iterator[Difference]:
    for name in desired.modules:
        if not observed[name]:
            yield Difference("kernel module", name, "not loaded", "loaded")


def _sysctl_differences(
    desired: DesiredState, observed: Mapping[str, str | None]
) -> Iterator[Difference]:
    for name, wanted in desired.sysctls.items():
        found = observed[name]
        if found is None:
            yield Difference("sysctl", name, "unknown to the kernel", wanted)
        elif found.split() != wanted.split():
            yield Difference("sysctl", name, found, wanted)


def _path_differences(
    desired: DesiredState, observed: Mapping[str, Mapping[str, Any] | None]
) -> Iterator[Difference]:
    for directory in desired.directories:
        found = observed[directory.path]
        if found is None:
            yield Difference("directory", directory.path, "missing", "present")
        elif found["type"] != "directory":
            yield Difference("directory", directory.path, f"a {found['type']}", "a directory")
        else:
            yield from _permission_differences("directory", directory, found)
    for file in desired.files:
        found = observed[file.path]
        if found is None:
            yield Difference("file", file.path, "missing", "present")
        elif found["type"] != "file":
            yield Difference("file", file.path, f"a {found['type']}", "a file")
        elif file.sha256 is None:
            yield Difference("file", file.path, "made from an older secret", "its renewed secret")
        elif found["sha256"] != file.sha256:
            yield Difference(
                "file", file.path, f"changed (sha256 {found['sha256'][:12]})", file.sha256[:12]
            )
        else:
            yield from _permission_differences("file", file, found)
    for path in desired.absent:
        if observed[path] is not None:
            yield Difference("path", path, "present", "absent")


def _permission_differences(
    kind: str, wanted: File | Directory, found: Mapping[str, Any]
) -> Iterator[Difference]:
    for attribute in ("mode", "owner", "group"):
        has, should = found[attribute], getattr(wanted, attribute)
        if has != should:
            yield Difference(kind, wanted.path, f"{attribute} {has}", f"{attribute} {should}")


def _unit_differences(
    desired: DesiredState, observed: Mapping[str, Mapping[str, Any]]
) -> Iterator[Difference]:
    for unit in desired.units:
        found = observed[unit.name]
        if found["enabled"] != unit.enabled:
            yield Difference("unit", unit.name, _enabled(not unit.enabled), _enabled(unit.enabled))
        if found["active"] != unit.active:
            wanted = "active" if unit.active else "inactive"
            yield Difference("unit", unit.name, found["state"], wanted)
        elif unit.active and found["restart_pending"]:
            yield Difference("unit", unit.name, "running with old files", "restarted")


def _enabled(flag: bool) -> str:
    return "enabled" if flag else "disabled"
