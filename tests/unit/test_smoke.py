"""The example platform's smoke tester, where the way to the platform is lost."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web

from tests.support.smoke import smoke

READY = b'data: {"ready": true}\n\n'


def hub(lost: int) -> web.Application:
    """A hub that loses the way to a page ``lost`` times before it says that a server is ready."""
    left = iter(range(lost))

    async def start(_: web.Request) -> web.Response:
        return web.Response(status=202)

    async def progress(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        if next(left, None) is None:
            await answer.write(READY)
            return answer
        await answer.write(b'data: {"message": "it is on its way"}\n\n')
        assert request.transport is not None
        request.transport.abort()
        return answer

    application = web.Application()
    application.router.add_post("/notebooks/hub/api/users/ada/server", start)
    application.router.add_get("/notebooks/hub/api/users/ada/server/progress", progress)
    return application


async def reconnections(lost: int) -> int:
    """How often somebody connected again until the server was ready."""
    runner = web.AppRunner(hub(lost))
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        async with aiohttp.ClientSession() as session:
            person = smoke.Person(session, f"http://{host}:{port}", "ada", reconnection_seconds=0)
            await person.start_server()
            return int(person.reconnected)
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("lost", [0, 2, smoke.RECONNECTIONS])
def test_a_page_connects_again_while_a_server_starts(lost: int) -> None:
    assert asyncio.run(reconnections(lost)) == lost


def test_it_does_not_do_so_for_ever() -> None:
    with pytest.raises((aiohttp.ClientConnectionError, aiohttp.ClientPayloadError)):
        asyncio.run(reconnections(smoke.RECONNECTIONS + 1))
