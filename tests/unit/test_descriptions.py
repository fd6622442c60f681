"""Docstrings below settings, as descriptions."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, create_model

from provision.descriptions import DescribedSchema, descriptions


class Base(BaseModel):
    """What others inherit."""

    color: str
    """Color of the thing,
    in English."""
    plain: int = 0


class Part(Base):
    """A part."""

    color: str = "red"
    """Red unless said."""
    size: Annotated[int, Field(alias="wide")] = 1
    """In mm."""


def test_of_its_own_fields_and_of_inherited_ones() -> None:
    assert descriptions(Base) == {"color": "Color of the thing,\nin English."}
    assert descriptions(Part) == {"color": "Red unless said.", "size": "In mm."}
    made = create_model("Made", __base__=Part, more=(int, 1))
    assert descriptions(made) == descriptions(Part)


def test_the_schema_has_them_under_the_names_in_the_file() -> None:
    schema = Part.model_json_schema(schema_generator=DescribedSchema)
    assert schema["properties"]["wide"]["description"] == "In mm."
    assert "description" not in schema["properties"]["plain"]
