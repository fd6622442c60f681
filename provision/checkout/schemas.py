"""Whether objects are what the API server takes, as far as schemas tell."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property, partial
from itertools import islice
from typing import Any

from provision.checkout.builtin import REFERENCE, BuiltIn, Schema
from provision.checkout.definitions import DEFINITION, schema, versions
from provision.checkout.jsontext import as_json
from provision.manifests import Manifest

LONGEST = 200
"""Characters of a value, or of a list of names, that a message has."""
LONGEST_MATCHED = 1000
"""Characters of a text that is compared with a pattern: some take the square of it, in steps."""
MOST = 100
"""Faults of one object that are told."""
_TYPES: Mapping[type, str] = {
    bool: "a truth value",
    dict: "an object",
    float: "a number",
    int: "an integer",
    list: "a list",
    str: "text",
}
_WANTED: Mapping[str, str] = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "an integer",
    "number": "a number",
    "object": "an object",
    "string": "text (in quotes where it looks like anything else)",
}


@dataclass(frozen=True)
class Fault:
    """What the API server would refuse, and what it would take."""

    found: str
    wanted: str


class Schemas:
    """What kinds look like.

    Parameters
    ----------
    own
        Kinds that Kubernetes itself has.
    definitions
        CustomResourceDefinitions of what the site installs.
    """

    def __init__(self, own: BuiltIn, definitions: Iterable[Manifest] = ()) -> None:
        self._own = own
        self._groups = {_group(api_version) for api_version, _ in own.kinds}
        self._custom: dict[tuple[str, str], Callable[[], Schema]] = {}
        self._made: dict[tuple[str, str], Any] = {}
        for definition in definitions:
            self._define(definition, patterns=True)

    @property
    def version(self) -> str:
        """Of Kubernetes, whose schemas these are: its first two numbers."""
        return self._own.version

    def define(self, definitions: Iterable[Manifest]) -> None:
        """Add what definitions define that are among the objects to be judged.

        One that is itself at fault defines nothing.
        """
        for definition in definitions:
            if self.faults(definition) == []:
                self._define(as_json(definition), patterns=False)

    def _define(self, definition: Manifest, *, patterns: bool) -> None:
        if definition.get("kind") != DEFINITION:
            return
        for one in versions(definition):
            key = one.api_version, one.kind
            # Few of the kinds that are defined are used, and making some takes long.
            self._custom[key] = partial(schema, one.raw, patterns=patterns)
            self._made.pop(key, None)

    def faults(self, item: Manifest) -> list[Fault] | None:
        """Everything that is wrong with an object; ``None`` where nobody knows its kind."""
        key = str(item["apiVersion"]), str(item["kind"])
        if key not in self._own.kinds and key not in self._custom:
            return self._unknown(*key)
        try:
            given = as_json({name: part for name, part in item.items() if name != "status"})
        except ValueError as problem:
            return [Fault(str(problem), "an object that can be said in JSON")]
        errors = sorted(islice(self._validator(key).iter_errors(given), MOST), key=_place)
        found = (_faults(error, secret=key[1] == "Secret") for error in errors)
        faults = dict.fromkeys(fault for some in found for fault in some)
        return list(islice(faults, MOST))

    def near(self, api_version: str, kind: str) -> list[str]:
        """Names of kinds that a misspelt one may mean."""
        known = [*self._own.kinds, *self._custom]
        return _near(kind, [other for one, other in known if one == api_version])

    def _unknown(self, api_version: str, kind: str) -> list[Fault] | None:
        """What can be said of a kind without a schema: some are known not to be there."""
        known = [*self._own.kinds, *self._custom]
        served = [
            one for one, other in known if (_group(one), other) == (_group(api_version), kind)
        ]
        if not served and _group(api_version) not in self._groups:
            return None
        kinds = sorted({other for one, other in known if one == api_version})
        names = self.near(api_version, kind) or kinds
        wanted = f"apiVersion {_listed(served)}" if served else _listed(names)
        return [
            Fault(
                f"{kind} of {api_version}, which the cluster does not have",
                wanted or "an apiVersion of Kubernetes, such as apps/v1",
            )
        ]

    def _validator(self, key: tuple[str, str]) -> Any:
        if key not in self._made:
            made = self._own.kinds.get(key) or self._custom[key]()
            self._made[key] = self._validators(made)
        return self._made[key]

    @cached_property
    def _validators(self) -> Any:
        return _validators(self._own.parts)


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]


def _validators(parts: Mapping[str, Schema]) -> Any:
    """A class of validators that look up what schemas refer to in ``parts``."""
    from jsonschema import Draft4Validator, ValidationError
    from jsonschema.validators import extend

    def reference(validator: Any, name: str, given: Any, _: Schema) -> Iterator[Any]:
        yield from validator.descend(given, parts[name.removeprefix(REFERENCE)])

    def form(_: Any, name: str, given: Any, __: Schema) -> Iterator[Any]:
        if name in _FORMS and not _FORMS[name](given):
            yield ValidationError(name)

    def pattern(_: Any, expression: str, given: Any, __: Schema) -> Iterator[Any]:
        if isinstance(given, str) and not _matches(expression, given):
            yield ValidationError(expression)

    return extend(Draft4Validator, {"$ref": reference, "format": form, "pattern": pattern})


def _matches(expression: str, given: str) -> bool:
    """Whether it does; an expression of Go's that Python does not know matches everything."""
    if len(given) > LONGEST_MATCHED:
        return True
    try:
        return re.search(expression, given) is not None
    except re.error:
        return True


def _is_base64(given: object) -> bool:
    if not isinstance(given, str):
        return True
    try:
        # Go passes over the ends of lines, and nothing else.
        base64.b64decode(re.sub(r"[\r\n]", "", given), validate=True)
    except ValueError:
        return False
    return True


def _is_integer_of(bits: int) -> Callable[[object], bool]:
    limit = 1 << (bits - 1)
    return lambda given: not isinstance(given, int) or -limit <= given < limit


_FORMS: Mapping[str, Callable[[object], bool]] = {
    "byte": _is_base64,
    "int32": _is_integer_of(32),
    "int64": _is_integer_of(64),
}


def _place(error: Any) -> list[str]:
    return [str(part) for part in error.absolute_path]


def _faults(error: Any, *, secret: bool) -> Iterator[Fault]:
    """What an error of a validator means; what a Secret holds is not shown."""
    given, asked = error.instance, error.validator_value
    path = _path(error.absolute_path)
    known = list(error.schema.get("properties", ()))
    if error.validator == "additionalProperties" and asked is False:
        for name in sorted(given.keys() - set(known)):
            field = _path([*error.absolute_path, name])
            wanted = _listed(_near(name, known) or sorted(known))
            yield Fault(f"{field}, which is no field there", wanted)
        return
    if error.validator == "required":
        for name in (one for one in asked if one not in given):
            yield Fault(f"no {_path([*error.absolute_path, name])}", "a value for it")
        return
    value = _type(given) if secret else f"{_shown(given)}"
    found = f"{path or 'the object'} is {value}"
    if error.validator == "type":
        types = [asked] if isinstance(asked, str) else asked
        wanted = " or ".join(_WANTED[one] for one in types if one != "null")
        yield Fault(found if secret else f"{found}, {_type(given)}", wanted)
    elif error.validator == "enum":
        yield Fault(found, f"one of: {_listed([str(one) for one in asked if one is not None])}")
    else:
        yield Fault(found, f"{error.validator} {_shown(asked)}")


def _near(name: str, names: Sequence[str]) -> list[str]:
    return get_close_matches(name, names, n=3) if len(name) < LONGEST else []


def _path(parts: Iterable[object]) -> str:
    """Where a field is: ``spec.containers[0].image``, ``metadata.labels["example.org/name"]``."""
    path = ""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        elif re.fullmatch(r"[\w-]+", str(part)):
            path += f".{part}" if path else str(part)
        else:
            path += f"[{json.dumps(part)}]"
    return path


def _type(given: object) -> str:
    return _TYPES.get(type(given), "nothing")


def _shown(given: object) -> str:
    text = json.dumps(given, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _listed(names: Iterable[str]) -> str:
    text = ", ".join(names)
    return text if len(text) <= LONGEST else f"{text[:LONGEST].rpartition(',')[0]}, …"
