"""Use the platform as a person does, through its real pages: sign in, start a notebook, run a cell.

    python3 smoke.py --url https://HOST --user NAME --password-file FILE --ca FILE

Every step is a line of JSON on standard output with the seconds that it took; the line of a step
that failed says where, what was found and what was wanted. Exit code 0 when all went well, else 1.

The functions are for tests too: :func:`sign_in` for any page behind the sign-on, :class:`Person`
for the notebooks, :func:`use` for the whole way. Besides Python it takes aiohttp, which the hub's
image has.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import ssl
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import aiohttp
from aiohttp.abc import AbstractCookieJar, AbstractResolver, ResolveResult
from yarl import URL

CELL = "print(6*7)"
RESULT = "42\n"
HUB = "/notebooks/hub/"
"""Where the hub's own pages are."""
RECONNECTIONS = 10
"""How often a page that follows a server's start (EventSource) connects again, as browsers do."""
Answer = TypeVar("Answer")


class StepError(Exception):
    """A page or an answer was not what it should be.

    Parameters
    ----------
    where : address that was asked, without its query, in which there are codes.
    found : what was seen there.
    wanted : what should have been seen.
    """

    def __init__(self, where: str, found: str, wanted: str) -> None:
        super().__init__(f"{where}: found {found}, wanted {wanted}")
        self.where, self.found, self.wanted = where, found, wanted


class FailedError(Exception):
    """A step failed; it is the last of ``steps``."""

    def __init__(self, steps: list[Step]) -> None:
        last = steps[-1]
        super().__init__(f"{last.step}: {last.where}: found {last.found}, wanted {last.wanted}")
        self.steps = steps


@dataclass(frozen=True)
class Step:
    """What was done and how long it took, in seconds; with what was wrong when it failed."""

    step: str
    seconds: float
    ok: bool = True
    where: str = ""
    found: str = ""
    wanted: str = ""

    def line(self) -> str:
        """One line of JSON, without what is empty."""
        return json.dumps({name: value for name, value in asdict(self).items() if value != ""})


class _Page(HTMLParser):
    """The form of a page that asks for a password, its title, and what it complains about."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.title = self.complaint = ""
        self.action: str | None = None
        self._form: str | None = None
        self._hidden: dict[str, str] = {}
        self.fields: dict[str, str] = {}
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._form, self._hidden = said.get("action", ""), {}
        elif tag == "input" and self._form is not None:
            if said.get("type") == "password":
                self.action, self.fields = self._form, self._hidden
            elif said.get("type") == "hidden" and "name" in said:
                self._hidden[said["name"]] = said.get("value", "")
        elif tag == "title":
            self._inside = "title"
        elif said.get("id", "").startswith(("input-error", "kc-error-message")):
            self._inside = "complaint"

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        if tag in {"title", "span", "div"}:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            setattr(self, self._inside, f"{getattr(self, self._inside)} {data}".strip())

    def seen(self, status: int) -> str:
        """What a person would say of the page."""
        complaint = f", which says: {' '.join(self.complaint.split())}" if self.complaint else ""
        return f"HTTP {status}, page {' '.join(self.title.split())!r}{complaint}"


class _At(AbstractResolver):
    """Gives one address for every name, in place of a name server."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        known = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        result = ResolveResult(
            hostname=host, host=self._address, port=port, family=known, proto=0, flags=0
        )
        return [result]

    async def close(self) -> None:
        """Nothing is open."""


@asynccontextmanager
async def browser(
    ca: Path | None, address: str | None = None, cookies: AbstractCookieJar | None = None
) -> AsyncIterator[aiohttp.ClientSession]:
    """Visits of one person, with cookies of his own.

    Parameters
    ----------
    ca : PEM file of the authority to trust; the system's when it is None.
    address : where every name is, without asking a name server.
    cookies : those of earlier visits; none without it.
    """
    context = ssl.create_default_context(cafile=ca)
    resolver = _At(address) if address else None
    connector = aiohttp.TCPConnector(ssl=context, resolver=resolver)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=300)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, cookie_jar=cookies
    ) as session:
        yield session


async def sign_in(session: aiohttp.ClientSession, url: str, user: str, password: str) -> str:
    """Open a page behind the sign-on, fill its form in, and follow back; the page that comes.

    Raises
    ------
    StepError : there is no form, or the answer to it is not a page of the same site.
    aiohttp.ClientError, OSError : nothing answers.
    """
    async with session.get(url) as answer:
        page, status, at = _Page(await answer.text()), answer.status, answer.url
    if page.action is None:
        raise StepError(_shown(at), page.seen(status), "a form that asks for a password")
    form = {**page.fields, "username": user, "password": password}
    async with session.post(at.join(URL(page.action)), data=form) as answer:
        text, status, at = await answer.text(), answer.status, answer.url
    page = _Page(text)
    if status != 200 or page.action is not None or at.host != URL(url).host:
        raise StepError(_shown(at), page.seen(status), f"a page for {user}, signed in")
    return text


@dataclass
class Person:
    """Somebody at the notebooks, after the sign-on.

    Every method raises :class:`StepError`, and what aiohttp raises when nothing answers.
    """

    session: aiohttp.ClientSession
    url: str
    user: str
    reconnected: int = 0
    """How often the way to the hub was lost while a server started."""
    reconnection_seconds: float = 3
    """Seconds after which one connects again, as browsers do."""

    @property
    def _own(self) -> str:
        return f"{self.url}{HUB}api/users/{quote(self.user)}"

    @property
    def _server(self) -> str:
        return f"{self.url}/notebooks/user/{quote(self.user)}/"

    async def ask(self, method: str, url: str, *wanted: int, xsrf: str, body: object = None) -> Any:
        """Ask an API as its pages do, with the token of the cookie at ``xsrf``; the answer."""
        cookie = self.session.cookie_jar.filter_cookies(URL(xsrf)).get("_xsrf")
        headers = {"X-XSRFToken": cookie.value if cookie else "", "Referer": xsrf}
        async with self.session.request(method, url, headers=headers, json=body) as answer:
            text = await answer.text()
            if answer.status not in wanted:
                codes = " or ".join(str(code) for code in wanted)
                found = f"HTTP {answer.status}: {text[:300]}"
                raise StepError(_shown(answer.url), found, f"HTTP {codes}")
            return json.loads(text) if text else None

    async def start_server(self) -> None:
        """Start the server, unless opening the notebooks did so; returns when it is ready."""
        hub = self.url + HUB
        # 400: it is there already, or on its way, since the first page starts it.
        await self.ask("POST", f"{self._own}/server", 201, 202, 400, xsrf=hub, body={})
        for _ in range(RECONNECTIONS):
            try:
                await self._follow_progress()
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
                self.reconnected += 1
                await asyncio.sleep(self.reconnection_seconds)
            else:
                return
        await self._follow_progress()

    async def _follow_progress(self) -> None:
        hub = self.url + HUB
        async with self.session.get(
            f"{self._own}/server/progress", headers={"Referer": hub}
        ) as told:
            last = f"HTTP {told.status}"
            async for line in told.content:
                if not line.startswith(b"data:"):
                    continue
                event = json.loads(line.removeprefix(b"data:"))
                if event.get("ready"):
                    return
                last = event.get("message", last)
                if event.get("failed"):
                    break
            raise StepError(_shown(told.url), f"last said: {last}", "the server to be ready")

    async def open_server(self) -> None:
        """Open the notebook's page, which signs in at the server."""
        async with self.session.get(f"{self._server}lab") as answer:
            page = _Page(await answer.text())
            if answer.status != 200 or not answer.url.path.startswith(URL(self._server).path):
                raise StepError(_shown(answer.url), page.seen(answer.status), "the notebook's page")

    async def start_kernel(self) -> str:
        """A new kernel's id."""
        made = await self.ask(
            "POST", f"{self._server}api/kernels", 201, xsrf=self._server, body={"name": "python3"}
        )
        return str(made["id"])

    async def run_cell(self, kernel: str) -> None:
        """Run :data:`CELL` in a kernel and judge what it prints."""
        printed = await self.run(kernel, CELL)
        if printed != RESULT:
            raise StepError(self._channels(kernel), f"{printed!r} of {CELL}", repr(RESULT))

    def _channels(self, kernel: str) -> str:
        return f"{self._server}api/kernels/{kernel}/channels"

    async def run(self, kernel: str, code: str) -> str:
        """Run ``code`` in a kernel; what it prints, an error of its own included."""
        path = self._channels(kernel)
        asked, talk = uuid.uuid4().hex, uuid.uuid4().hex
        content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
        request = {
            "header": {
                "msg_id": asked,
                "msg_type": "execute_request",
                "session": talk,
                "username": self.user,
                "version": "5.3",
            },
            "parent_header": {},
            "metadata": {},
            "channel": "shell",
            "content": {**content, "user_expressions": {}},
        }
        printed = ""
        async with self.session.ws_connect(f"{path}?session_id={talk}", heartbeat=30) as channels:
            await channels.send_json(request)
            async for message in channels:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    break
                said = json.loads(message.data)
                if said["parent_header"].get("msg_id") != asked:
                    continue
                kind, content = said["msg_type"], said["content"]
                if kind == "stream":
                    printed += content["text"]
                elif kind == "error":
                    printed += f"{content['ename']}: {content['evalue']}"
                elif kind == "status" and content["execution_state"] == "idle":
                    break
        return printed

    async def stop_kernel(self, kernel: str) -> None:
        """End the kernel."""
        url = f"{self._server}api/kernels/{kernel}"
        await self.ask("DELETE", url, 204, xsrf=self._server)

    async def stop_server(self) -> None:
        """Stop the server; returns when the hub does not know it any more."""
        hub = self.url + HUB
        await self.ask("DELETE", f"{self._own}/server", 202, 204, xsrf=hub)
        # The hub tells nobody when a server is gone.
        while (await self.ask("GET", self._own, 200, xsrf=hub)).get("servers"):  # noqa: ASYNC110
            await asyncio.sleep(0.5)


async def use(
    url: str,
    user: str,
    password: str,
    *,
    ca: Path | None = None,
    address: str | None = None,
    deadline: float = 300,
    keep_server: bool = False,
    tell: Callable[[Step], object] | None = None,
) -> list[Step]:
    """Go the whole way once; the steps.

    Parameters
    ----------
    url : ``https://HOST``.
    ca, address : see :func:`browser`.
    deadline : seconds for all of it.
    keep_server : leave the server running.
    tell : is given each step when it ends.

    Raises
    ------
    FailedError : a step failed, the last one that it names.
    """
    url = url.rstrip("/")
    steps: list[Step] = []
    ends = time.monotonic() + deadline

    async def step(name: str, doing: Awaitable[Answer]) -> Answer:
        began = time.monotonic()
        error: StepError | None = None
        try:
            async with asyncio.timeout(ends - began):
                return await doing
        except StepError as found:
            error = found
        except TimeoutError:
            error = StepError(url, f"no end within {deadline:g} s", "all steps done by then")
        except (aiohttp.ClientError, OSError, ValueError) as found:
            error = StepError(url, f"{type(found).__name__}: {found}", "an answer")
        finally:
            took = round(time.monotonic() - began, 3)
            wrong = {} if error is None else _told(error)
            steps.append(Step(name, took, error is None, **wrong))
            if tell:
                tell(steps[-1])
        raise FailedError(steps) from error

    async with browser(ca, address) as session:
        person = Person(session, url, user)
        await step("sign in", sign_in(session, f"{url}/notebooks/", user, password))
        try:
            await step("start server", person.start_server())
            await step("open server", person.open_server())
            kernel = await step("start kernel", person.start_kernel())
            await step("run cell", person.run_cell(kernel))
            await step("stop kernel", person.stop_kernel(kernel))
        except FailedError:
            # The next visit shall begin anew; what is told is what failed first.
            ends = time.monotonic() + 30
            if not keep_server:
                tell, failed = None, list(steps)
                with suppress(FailedError):
                    await step("stop server", person.stop_server())
                steps[:] = failed
            raise
        if not keep_server:
            await step("stop server", person.stop_server())
    return steps


def _told(error: StepError) -> dict[str, str]:
    return {"where": error.where, "found": error.found, "wanted": error.wanted}


def _shown(url: URL) -> str:
    """An address without what may be secret in it."""
    return str(url.with_query(None).with_fragment(None))


def main() -> int:
    """Run as a program; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", required=True, help="https://HOST")
    parser.add_argument("--user", required=True)
    parser.add_argument("--password-file", required=True, type=Path)
    parser.add_argument("--ca", type=Path, help="PEM file of the authority to trust")
    parser.add_argument("--address", help="where HOST is, without asking a name server")
    parser.add_argument("--deadline", type=float, default=300, help="seconds for all of it")
    parser.add_argument("--keep-server", action="store_true", help="leave the server running")
    given = parser.parse_args()
    if urlsplit(given.url).scheme != "https":
        parser.error(f"--url {given.url}: wanted https://HOST")
    for path in filter(None, (given.password_file, given.ca)):
        if not path.is_file():
            parser.error(f"{path}: no such file")
    try:
        asyncio.run(
            use(
                given.url,
                given.user,
                given.password_file.read_text().rstrip("\n"),
                ca=given.ca,
                address=given.address,
                deadline=given.deadline,
                keep_server=given.keep_server,
                tell=lambda step: print(step.line(), flush=True),
            )
        )
    except FailedError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
