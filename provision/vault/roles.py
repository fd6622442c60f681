"""Roles of Vault's auth methods, as site files have them."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from provision.site import Model
from provision.vault.configuration import seconds

Duration = Annotated[str, Field(pattern=r"^[1-9][0-9]*[smh]$")]
"""A time as Vault writes it: ``87600h``."""
PolicyName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9/_.-]*$")]
RoleName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")]
"""Vault writes names of roles in small letters."""


class Role(Model):
    """What tokens may do that an auth method gives for the role, and how long."""

    policies: Annotated[tuple[PolicyName, ...], Field(min_length=1)]
    """What its tokens may do."""
    ttl: Duration = "1h"
    """How long a token lives unless it is renewed."""
    max_ttl: Duration = "24h"
    """How long it may be renewed."""

    @model_validator(mode="after")
    def _renewable(self) -> Self:
        if seconds(self.ttl) > seconds(self.max_ttl):
            raise ValueError(f"ttl {self.ttl} must not be above max_ttl {self.max_ttl}")
        return self

    def options(self) -> dict[str, Any]:
        """The same as Vault tells it."""
        return {
            "token_policies": list(self.policies),
            "token_ttl": seconds(self.ttl),
            "token_max_ttl": seconds(self.max_ttl),
        }
