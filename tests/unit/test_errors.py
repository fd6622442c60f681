"""Errors as an operator sees them, and the documented exit codes."""

import re
from pathlib import Path

import pytest

from provision.errors import ConfigError, ExitCode, OperatorError

DOCUMENTED = Path(__file__).parents[2] / "docs" / "errors.md"


def kinds(base: type[OperatorError] = OperatorError) -> list[type[OperatorError]]:
    return [base, *(kind for below in base.__subclasses__() for kind in kinds(below))]


def test_an_error_reads_from_what_to_what_to_do() -> None:
    error = ConfigError(
        "the lamp is out",
        where="site.yaml:3:1",
        found="dark",
        wanted="light",
        why="nobody sees",
        fix="provision up",
        also=["the door is open", "the cat is gone"],
    )
    assert str(error) == (
        "site.yaml:3:1: the lamp is out\n"
        "  found:  dark\n"
        "  wanted: light\n"
        "  why:    nobody sees\n"
        "  fix:    provision up\n"
        "  also:   the door is open\n"
        "          the cat is gone"
    )


def test_what_is_not_said_takes_no_line() -> None:
    assert str(ConfigError("short")) == "short"
    assert ConfigError("short").details() == {}


@pytest.mark.parametrize("kind", kinds()[1:], ids=lambda kind: kind.__name__)
def test_every_kind_of_error_has_an_exit_code_and_a_page(kind: type[OperatorError]) -> None:
    assert isinstance(kind.exit_code, ExitCode)
    assert kind.exit_code not in (ExitCode.OK, ExitCode.BUG, ExitCode.CHANGES)
    assert kind.__doc__


def test_every_exit_code_is_documented_and_no_other() -> None:
    documented = {
        (int(number), name)
        for number, name in re.findall(
            r"^\| (\d+) \| `(\w+)` \|", DOCUMENTED.read_text(), re.MULTILINE
        )
    }
    assert documented == {(int(code), code.name) for code in ExitCode}


def test_exit_codes_do_not_collide() -> None:
    assert len({int(code) for code in ExitCode}) == len(ExitCode.__members__)
    # What a shell and typer use themselves: 126 and 127 for commands, 128 and up for signals.
    assert all(int(code) < 126 or code is ExitCode.INTERRUPTED for code in ExitCode)
    assert int(ExitCode.INTERRUPTED) == 130
