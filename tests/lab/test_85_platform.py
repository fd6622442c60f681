"""The reference platform as people use it, while a machine is lost too."""

from __future__ import annotations

import asyncio
import html
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from tests.bench.platform import errors, measured_platform
from tests.lab import directory, leaks
from tests.lab.browser import Person, browser
from tests.lab.machines import ROOT, Lab
from tests.lab.outage import Ask, watching
from tests.lab.platform import Platform
from tests.lab.processes import ProcessWatch
from tests.lab.waiting import wait_until
from tests.support.smoke import smoke

pytestmark = pytest.mark.platform

SITE_FILE = ROOT / "examples" / "platform" / "lab.yaml"
PICTURES = ROOT / "build" / "pictures"
ADA = "ada"
LAB = "#jp-main-dock-panel"
KEPT = "from pathlib import Path; Path('kept.txt').write_text('lasting')"
READ = "from pathlib import Path; print(Path('kept.txt').read_text())"
CLUSTER_WIDE = (
    ("ingressclass", "haproxy"),
    ("clusterrole", "ingress"),
    ("clusterrolebinding", "ingress"),
)
DEX_KINDS = "deployment,service,serviceaccount,role,rolebinding,networkpolicy"
NAMESPACES = ("smoke", "notebooks", "landing", "sign-on", "directory", "ingress")


@pytest.fixture(scope="module")
def platform(lab: Lab, report: Callable[[str], None]) -> Iterator[Platform]:
    """The platform on the lab's machines; taken off in the end where the lab's site has none."""
    subprocess.run([sys.executable, "-m", "lab.repository", str(SITE_FILE)], cwd=ROOT, check=True)
    site = Lab(SITE_FILE, lab.state_home, lab.extra)
    started = time.monotonic()
    site.provision("up", "--no-verify")
    report(f"services and platform are up after {time.monotonic() - started:.0f} s")
    yield Platform.of(site)
    if lab.site_file == SITE_FILE or os.environ.get("PROVISION_KEEP_LAB"):
        return
    lab.provision("up", "--no-verify", "--prune")
    lab.kubectl("delete", "namespace", *NAMESPACES, "--ignore-not-found", "--wait=false")
    gone = ("get", "namespace", *NAMESPACES, "--ignore-not-found", "-o", "name")
    wait_until("no namespace of it", lambda: not lab.kubectl(*gone).strip(), seconds=300)
    for kind, name in CLUSTER_WIDE:
        lab.kubectl("delete", kind, name, "--ignore-not-found")


@pytest.fixture
def person(platform: Platform, tmp_path: Path) -> Iterator[Person]:
    """Somebody with a browser that trusts the site's authority."""
    hosts = {platform.host: platform.address}
    with browser(tmp_path, [platform.ca], hosts, PICTURES) as somebody:
        yield somebody


def test_every_application_is_synced_and_healthy(
    platform: Platform, report: Callable[[str], None]
) -> None:
    stands = json.loads(platform.lab.provision("platform", "status", "--json"))
    report(f"{platform.url} at {platform.address}: {stands['summary']}")
    assert re.fullmatch(r"(\d+) applications: \1 Synced; \1 Healthy", stands["summary"])
    platform.lab.provision("plan", expect=0)


def test_somebody_signs_in_and_runs_a_cell(
    platform: Platform, person: Person, report: Callable[[str], None]
) -> None:
    started = time.monotonic()
    person.open(f"{platform.url}/")
    person.see("#kc-login")
    person.picture("sign-on")
    person.sign_in(ADA, platform.password(ADA))
    person.see("h1", "Welcome")
    assert person.at == f"{platform.url}/"
    person.picture("landing")
    signed_in = time.monotonic() - started
    person.click("a", "Notebooks")
    person.see(LAB, seconds=600)
    ready = time.monotonic() - started
    open_laboratory(platform, person)
    person.run_cell("6*7", "42")
    ran = time.monotonic() - started
    report(
        f"in a browser: signed in after {signed_in:.1f} s, a new notebook server ready after"
        f" {ready:.1f} s, 6*7 is 42 after {ran:.1f} s"
    )
    person.run_cell(KEPT, "7")
    person.decline("Jupyter news")
    person.picture("notebook")


def open_laboratory(platform: Platform, person: Person) -> None:
    """A new notebook, beside whatever was open the last time."""
    person.open(f"{platform.url}/notebooks/user/{ADA}/lab?reset")
    person.new_notebook(seconds=180)


def test_what_was_written_is_there_on_another_machine(
    platform: Platform, person: Person, report: Callable[[str], None]
) -> None:
    password = platform.password(ADA)
    before = platform.machine_of_notebook(ADA)
    asyncio.run(_stop_server(platform, password))
    platform.lab.kubectl("cordon", before)
    try:
        started = time.monotonic()
        person.open(f"{platform.url}/notebooks/")
        person.sign_in(ADA, password)
        person.see(LAB, seconds=600)
        open_laboratory(platform, person)
        person.run_cell(READ, "lasting")
        person.decline("Jupyter news")
        person.picture("notebook-elsewhere")
        took = time.monotonic() - started
        after = platform.machine_of_notebook(ADA)
        assert after != before
        report(f"a file of a notebook of {before} is read on {after} after {took:.1f} s")
    finally:
        platform.lab.kubectl("uncordon", before)
        asyncio.run(_stop_server(platform, password))


async def _stop_server(platform: Platform, password: str) -> None:
    async with smoke.browser(platform.ca, platform.address) as session:
        await smoke.sign_in(session, f"{platform.url}/", ADA, password)
        await _enter(platform, session)
        await smoke.Person(session, platform.url, ADA).stop_server()


async def _enter(platform: Platform, session: aiohttp.ClientSession) -> None:
    """Open the notebooks' own pages, which sign in by what the sign-on knows already."""
    async with session.get(f"{platform.url}/notebooks/hub/home") as answer:
        await answer.read()
        assert answer.status == 200, answer.status


def test_many_sign_in_and_start_notebooks(
    platform: Platform, report: Callable[[str], None]
) -> None:
    """Few of those that ``python -m tests.bench.platform`` has."""
    figures = measured_platform(platform, 40, loads=3, over=10, notebooks=4)
    for name, told in figures.items():
        report(f"{name}: {json.dumps(told)}")
    assert errors(figures) == {}


def test_a_machine_is_lost_while_people_work(
    platform: Platform, report: Callable[[str], None]
) -> None:
    """The one that has the platform's address, with a notebook on it."""
    lab = platform.lab
    name = announcing(platform)
    victim = lab.machines[name]
    others = [other for other in lab.machines if other != name]
    lab.control_plane.sort(key=name.__eq__)
    parts = {part: platform.machine_of("notebooks", f"app={part}") for part in ("hub", "proxy")}
    parts["sign-on"] = platform.machine_of("sign-on", "app=sign-on")
    report(f"{name} will be lost; {', '.join(f'{part} on {at}' for part, at in parts.items())}")
    try:
        silences = asyncio.run(_lose(platform, name, others, report))
    finally:
        victim.start()
        lab.kubectl("uncordon", *others)
        took = wait_until("status says healthy", lambda: lab.provision("status"), seconds=600)
        report(f"status says healthy {took:.1f} s after {name} was switched on")
        took = wait_until(
            "all applications", lambda: lab.provision("platform", "status"), seconds=600
        )
        report(f"all applications are Healthy {took:.1f} s after that")
    for part, seconds in silences.items():
        report(f"{part} was silent for {seconds:.1f} s at most when {name} was lost")
    assert silences["the first page"] < 60
    lab.provision("plan", expect=0)


async def _lose(
    platform: Platform, name: str, others: list[str], report: Callable[[str], None]
) -> dict[str, float]:
    """Lose a machine on which somebody works; seconds that each part was silent."""
    lab, (user, password) = platform.lab, platform.people(1)[0]
    async with smoke.browser(platform.ca, platform.address) as session:
        await smoke.sign_in(session, f"{platform.url}/", user, password)
        await _enter(platform, session)
        person = smoke.Person(session, platform.url, user)
        await asyncio.to_thread(lab.kubectl, "cordon", *others)
        await person.start_server()
        await person.open_server()
        await person.run(await person.start_kernel(), KEPT)
        await asyncio.to_thread(lab.kubectl, "uncordon", *others)
        assert await asyncio.to_thread(platform.machine_of_notebook, user) == name

        async with watching(asks(platform, session)) as found:
            await _until("answers", lambda: all(one.answering for one in found.values()), 60)
            killed = time.monotonic()
            await asyncio.to_thread(lab.machines[name].kill)
            await _until("the cluster to miss it", lambda: _missed(lab, name), 180)
            report(f"the cluster missed {name} after {time.monotonic() - killed:.1f} s")
            # By new connections: those that there were end nowhere.
            async with smoke.browser(platform.ca, platform.address, session.cookie_jar) as anew:
                person = smoke.Person(anew, platform.url, user)
                started = await _start_again(person)
                assert await asyncio.to_thread(platform.machine_of_notebook, user) in others
                assert await person.run(await person.start_kernel(), READ) == "lasting\n"
                report(
                    f"a lost notebook runs on another machine {started - killed:.1f} s after {name}"
                    f" was lost, and reads its file after {time.monotonic() - killed:.1f} s"
                )
            await _until(
                "all but the sign-on, whose database may have been there",
                lambda: all(one.answering for part, one in found.items() if part != "the sign-on"),
                300,
            )
            ended = time.monotonic()
    async with smoke.browser(platform.ca, platform.address, session.cookie_jar) as anew:
        await smoke.Person(anew, platform.url, user).stop_server()
    return {part: one.longest_silence(ended) for part, one in found.items()}


async def _start_again(person: Any) -> float:
    """Stop a server whose machine is gone, and start it anew, as often as it takes; when it was."""
    ends = time.monotonic() + 600
    while True:
        try:
            async with asyncio.timeout(ends - time.monotonic()):
                await person.stop_server()
                await person.start_server()
                await person.open_server()
        except (smoke.StepError, aiohttp.ClientError, TimeoutError, ValueError) as error:
            if time.monotonic() > ends:
                raise AssertionError(f"no notebook elsewhere: {error}") from error
            await asyncio.sleep(1)
        else:
            return time.monotonic()


def asks(platform: Platform, session: aiohttp.ClientSession) -> dict[str, Ask]:
    """What is asked all the time, each time over a new connection: by somebody signed in."""

    async def status(url: str, ca: Path, address: str | None) -> int:
        async with (
            smoke.browser(ca, address, session.cookie_jar) as visit,
            visit.get(url, allow_redirects=False) as answer,
        ):
            await answer.read()
            return int(answer.status)

    def page(path: str) -> Ask:
        async def ask() -> bool:
            return await status(f"{platform.url}{path}", platform.ca, platform.address) == 200

        return ask

    async def argo_cd() -> bool:
        return await status(f"https://{platform.argocd}/healthz", platform.site_ca, None) == 200

    return {
        "the first page": page("/"),
        "the sign-on": page("/sso/realms/site/.well-known/openid-configuration"),
        "the notebooks' hub": page("/notebooks/hub/api"),
        "Argo CD": argo_cd,
    }


async def _until(what: str, look: Callable[[], object], seconds: float) -> None:
    await asyncio.to_thread(wait_until, what, look, seconds)


def _missed(lab: Lab, name: str) -> bool:
    path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
    return lab.kubectl("get", "node", name, "-o", path) != "True"


def announcing(platform: Platform) -> str:
    """The machine that answers for the platform's address, as we see it here."""
    address = platform.address
    shown = subprocess.run(
        ["ip", "neighbour", "show", address], capture_output=True, text=True, check=True
    ).stdout
    for name, machine in platform.lab.machines.items():
        if machine.run("cat /sys/class/net/eth0/address").strip() in shown:
            return str(name)
    raise AssertionError(f"nobody announces {address}: {shown!r}")


def test_argo_cd_signs_people_on_by_what_does_not_speak_openid(
    platform: Platform, tmp_path: Path, report: Callable[[str], None], watch: ProcessWatch
) -> None:
    """By a directory to the end; by GitHub, which the lab does not reach, as far as its door."""
    lab = platform.lab
    secret = tmp_path / "github"
    secret.touch(0o600)
    secret.write_text("$ECRET of GitHub, long enough to be found")
    github = {
        "client_id": "the-labs",
        "client_secret": {"file": str(secret)},
        "organizations": [{"name": "observatory"}],
    }

    def with_sign_on(site: dict[str, Any]) -> None:
        _absolute(site)
        policy = f"g, {directory.GROUP}, role:admin"
        site["argocd"] |= {"github": github, "ldap": people, "rbac": {"policy": policy}}

    with directory.directory(lab, tmp_path) as people:
        changed = lab.changed(tmp_path, with_sign_on)
        try:
            started = time.monotonic()
            changed.provision("up", "--no-verify")
            report(f"Argo CD has another sign-on after {time.monotonic() - started:.0f} s")
            changed.provision("plan", expect=0)
            asyncio.run(_led_to_github(platform))
            _sign_on(platform, tmp_path, directory.MEMBER, [directory.GROUP])
            _sign_on(platform, tmp_path, directory.OTHER, [])
            secrets = leaks.needles(
                {"GitHub": secret.read_bytes(), "LDAP": directory.READER_PASSWORD.encode()}
            )
            assert len(secrets) > 1
            assert leaks.told(secrets, changed.provision("plan", "--json"), "plan") == []
            assert leaks.leaks(lab, secrets, watch) == []
            for name in lab.machines:
                assert leaks.readable_by_anyone(lab, name, secrets) == []
        finally:
            lab.provision("up", "--no-verify")
    lab.provision("plan", expect=0)
    left = lab.kubectl("-n", "argocd", "get", DEX_KINDS, "-o", "name")
    for part in ("configmap/argocd-cm", "secret/argocd-secret"):
        keys = "go-template={{range $key, $_ := .data}}{{$key}} {{end}}"
        left += lab.kubectl("-n", "argocd", "get", part, "-o", keys)
    assert "dex" not in left


def _absolute(site: dict[str, Any]) -> None:
    """Make what the site file names relative to itself right for any folder."""
    folder = SITE_FILE.parent
    policies = site["vault"]["policies"]
    policies.update({name: str(folder / path) for name, path in policies.items()})
    for one in site["argocd"]["repositories"].values():
        one["ca"] = str((folder / one["ca"]).resolve())


def argocd_host(platform: Platform) -> str:
    """The name by which Argo CD is reached."""
    return "argocd." + platform.host.partition(".")[2]


def _sign_on(platform: Platform, folder: Path, user: str, groups: list[str]) -> None:
    """Sign on by the directory; who is in a group may see applications, and nobody else."""
    url = f"https://{argocd_host(platform)}"
    who = f"{url}/api/v1/session/userinfo"
    home = folder / user
    home.mkdir()
    hosts = {argocd_host(platform): platform.argocd}
    with browser(home, [platform.site_ca], hosts, PICTURES) as person:
        for password in ("a wrong one", directory.PASSWORD):
            person.open(f"{url}/auth/login?return_url={who}")
            person.click("a", "Log in with LDAP")
            person.sign_in(user, password, field="login")
            if password != directory.PASSWORD:
                person.see("#login-error")
                person.picture("argocd-sign-on")
        said = json.loads(person.see("pre", "loggedIn").text)
        assert person.at == who
        assert said["loggedIn"] is True
        assert (said.get("groups") or []) == groups
        person.open(f"{url}/api/v1/applications")
        listed = json.loads(person.see("pre", "metadata").text)["items"]
        assert bool(listed) == bool(groups)


async def _led_to_github(platform: Platform) -> None:
    url = f"https://{argocd_host(platform)}"
    async with smoke.browser(platform.site_ca, platform.argocd) as session:
        async with session.get(f"{url}/auth/login") as answer:
            (link,) = re.findall(r'href="(/api/dex/auth/github[^"]*)"', await answer.text())
        async with session.get(f"{url}{html.unescape(link)}", allow_redirects=False) as answer:
            sent = urlsplit(answer.headers["Location"])
    assert (sent.hostname, sent.path) == ("github.com", "/login/oauth/authorize")
    asked = parse_qs(sent.query)
    assert asked["client_id"] == ["the-labs"]
    assert asked["redirect_uri"] == [f"{url}/api/dex/callback"]


def test_no_secret_of_the_platform_is_told(platform: Platform, watch: ProcessWatch) -> None:
    lab = platform.lab
    values = leaks.of_the_store(lab)
    assert {"argocd/admin-password", "platform/secret/platform/directory.ada"} <= values.keys()
    wanted = leaks.needles(values | leaks.of_the_cluster(lab))
    events = lab.kubectl("get", "events", "--all-namespaces", "-o", "json")
    assert leaks.told(wanted, events, "events of the cluster") == []
    for command in (("plan", "--json"), ("platform", "status", "--json"), ("platform", "diff")):
        assert leaks.told(wanted, lab.provision(*command), f"provision {' '.join(command)}") == []
    (repository,) = (ROOT / ".vagrant" / "lab" / "repository").glob("*.git")
    history = subprocess.run(
        ["git", "log", "--all", "--patch"], cwd=repository, capture_output=True, check=True
    )
    assert b"platform/reader" in history.stdout
    assert leaks.told(wanted, history.stdout.decode(), "the site's repository") == []
    assert leaks.leaks(lab, wanted, watch) == []
    for name in lab.machines:
        assert leaks.readable_by_anyone(lab, name, wanted) == []
