"""``provision postgresql``: what is promoted, and what is not."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from provision.errors import UsageError
from provision.phases.postgresql import PostgresqlSettings
from provision.verbs.postgresql import moment, why_not_promoted
from tests.support.cases import make_site
from tests.support.observed import changed
from tests.support.postgresql import as_wanted

BEFORE = make_site({"postgresql": {"primary": "n1", "replica": "n2"}})
EXCHANGED = make_site({"postgresql": {"primary": "n2", "replica": "n1"}})


def why(**changes: dict[str, Any]) -> str:
    """Why n2 is not promoted, in a site whose primary was n1."""
    found = {host: copy.deepcopy(as_wanted(BEFORE, host)) for host in ("n1", "n2")}
    found = {host: changed(told, changes.get(host, {})) for host, told in found.items()}
    answering = {host: told for host, told in found.items() if told.get("there", True)}
    return why_not_promoted(EXCHANGED.settings(PostgresqlSettings), answering)


def test_a_replica_that_follows_is_promoted_whether_its_primary_answers_or_not() -> None:
    assert why() == ""
    assert why(n1={"there": False}) == ""
    assert why(n1={"error": "it is stopped"}) == ""


def test_nothing_is_promoted_where_something_would_be_lost() -> None:
    assert why(n2={"there": False}) == "does not answer"
    assert why(n2={"data": None}) == "it has no databases"
    assert why(n2={"data": {"standby": False}}).startswith("it is no replica")
    assert why(n2={"error": "it is stopped"}) == "its server does not answer: it is stopped"
    assert "what it lacks would be lost" in why(n1={"standbys": {"n2": {"state": "absent"}}})


def test_a_time_without_an_offset_is_utc() -> None:
    assert moment("") == ""
    assert moment("2026-05-04T13:30:00") == "2026-05-04T13:30:00+00:00"
    assert moment("2026-05-04 13:30+02:00") == "2026-05-04T13:30:00+02:00"
    with pytest.raises(UsageError, match="that is no time"):
        moment("yesterday")
