"""A site file that is right, and the model that reads it without the real components."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from provision.site import LoadedSite, Model, SecretRef, Settings, load_site, site_model

SITE = """\
name: lab
hosts:
  n1: {address: 10.0.0.11, parts: [control_plane, worker]}
  n2: {address: 10.0.0.12, parts: [control_plane]}
  n3: {address: 10.0.0.13, parts: [control_plane]}
  n4: {address: 10.0.0.14}
network:
  machines: 10.0.0.0/24
engine: {speed: 5}
"""


class Wheel(Model):
    """Part of the component's settings."""

    size: Annotated[float, Field(gt=0, lt=100)]
    """Diameter in cm."""


class EngineSettings(Settings):
    """A component with every kind of setting."""

    component: ClassVar[str] = "engine"
    speed: Annotated[int, Field(ge=1, le=10)]
    """Turns a second."""
    fuel: Annotated[str, Field(min_length=2, max_length=8)] = "coal"
    """What burns."""
    wheels: tuple[Wheel, ...] = ()
    """What turns."""
    password: SecretRef | None = None
    """What opens it."""
    values: dict[str, Any] = Field(default_factory=dict)
    """Passed through."""


class LampSettings(Settings):
    """A component that may be left out."""

    component: ClassVar[str] = "lamp"
    lit: bool = True
    """Whether it burns."""


class RadioSettings(Settings):
    """A component that is there only where its key is."""

    component: ClassVar[str] = "radio"
    optional: ClassVar[bool] = True
    volume: int = 3
    """How loud it is."""


MODEL = site_model([EngineSettings, LampSettings, RadioSettings])


def load(folder: Path, text: str | bytes) -> LoadedSite:
    """Write ``text`` as a site file and read it."""
    path = folder / "site.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return load_site(path, MODEL)
