"""What each setting means: the docstring below it, for the schema, the reference and errors.

pydantic takes these itself (``use_attribute_docstrings``), but when a class is made, and
reading the sources of all of them takes a noticeable part of a run that needs none.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue


@cache
def descriptions(model: type[BaseModel]) -> Mapping[str, str]:
    """Docstring by field, of the model's own fields and of those it inherits."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base.__module__.partition(".")[0] != "pydantic":
            found.update(_own(base))
    return found


def _own(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    try:
        source = inspect.getsource(model)
    except (OSError, TypeError):
        # Made by a function, not by a class statement.
        return
    [definition] = ast.parse(textwrap.dedent(source)).body
    if not isinstance(definition, ast.ClassDef):
        return
    for field, text in pairwise(definition.body):
        match field, text:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(said))),
            ):
                yield name, inspect.cleandoc(said)


class DescribedSchema(GenerateJsonSchema):
    """A JSON schema with every field's description."""

    def model_schema(self, schema: Any) -> JsonSchemaValue:
        """The schema of one model."""
        made = super().model_schema(schema)
        model: type[BaseModel] = schema["cls"]
        for name, text in descriptions(model).items():
            field = model.model_fields.get(name)
            entry = made.get("properties", {}).get((field and field.alias) or name)
            if entry is not None:
                entry.setdefault("description", text)
        return made
