"""What the benchmark of the platform makes of seconds and errors."""

from __future__ import annotations

import asyncio

from tests.bench.platform import Measured, errors, measure, rank
from tests.support.smoke import smoke


def test_a_rank_is_one_of_the_values() -> None:
    assert rank([4.0, 1.0, 3.0, 2.0], 50) == 2.0
    assert rank([float(number) for number in range(1, 201)], 99) == 198.0
    assert rank([5.0], 99) == 5.0


def test_errors_are_counted_alike_for_everybody() -> None:
    async def fine() -> float:
        return 1.5

    def refused(name: str) -> object:
        async def work() -> float:
            raise smoke.StepError(f"https://h/users/{name}", "HTTP 503", "HTTP 200")

        return work

    works = {"ann": fine, "bob": refused("bob"), "cas": refused("cas")}
    figures = asyncio.run(measure(works)).figures()  # type: ignore[arg-type]
    assert (figures["count"], figures["errors"], figures["max"]) == (1, 2, 1.5)
    wrong = {"https://h/users/NAME: found HTTP 503, wanted HTTP 200": 2}
    assert figures["wrong"] == wrong
    assert errors({"people": 3, "sign_in": figures}) == {"sign_in": wrong}


def test_what_nobody_did_has_no_seconds() -> None:
    assert Measured().figures() == {"count": 0, "errors": 0, "together": 0}
    assert errors({"sign_in": Measured().figures()}) == {}
