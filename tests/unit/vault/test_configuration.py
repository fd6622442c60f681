"""What Vault holds is compared with what it should hold, and texts of the store are not shown."""

from __future__ import annotations

from typing import Any

from provision.vault.configuration import (
    configuration_differences,
    seconds,
    with_texts,
    without_texts,
)

WANTED: dict[str, dict[str, Any]] = {
    "paths": {"auth/x/config": {"ca": {"store": "ca.crt"}, "names": ["b", "a"], "on": True}}
}


def read(name: str) -> bytes:
    return f"content of {name}\n".encode()


def found(**options: Any) -> dict[str, dict[str, Any]]:
    return {"paths": {"auth/x/config": {"names": ["a", "b"], "on": True, **options}}}


def differences(options: dict[str, Any]) -> list[str]:
    told = without_texts(found(**options), WANTED, read)
    return list(configuration_differences(WANTED, told))


def test_a_text_of_the_store_is_sent_and_recognised() -> None:
    sent = with_texts(WANTED, read)
    assert sent["paths"]["auth/x/config"]["ca"] == "content of ca.crt"
    assert differences({"ca": "content of ca.crt"}) == []


def test_another_text_is_named_and_not_shown() -> None:
    assert differences({"ca": "something else"}) == [
        "path auth/x/config has another ca, wanted ca.crt"
    ]
    assert differences({}) == ["path auth/x/config has another ca, wanted ca.crt"]


def test_the_order_of_names_does_not_count() -> None:
    assert differences({"ca": "content of ca.crt", "names": ["a"]}) == [
        "path auth/x/config has names ['a'], wanted ['b', 'a']"
    ]


def test_times_are_told_in_seconds() -> None:
    assert [seconds(text) for text in ("30s", "15m", "87600h")] == [30, 900, 315360000]
