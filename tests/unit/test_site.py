"""The site file: what it means, and what is said when it is wrong."""

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from provision.errors import ConfigError
from provision.site import Connection, Part, load_site
from tests.support.sites import MODEL, SITE, EngineSettings, LampSettings, RadioSettings, load


def refusal(folder: Path, text: str | bytes) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    assert caught.value.where.startswith(str(folder / "site.yaml")), "every refusal says where"
    assert caught.value.fix, "every refusal says what to do"
    return caught.value


def position(error: ConfigError) -> str:
    return error.where.split("site.yaml:", 1)[1]


def test_a_site_is_what_the_file_says(tmp_path: Path) -> None:
    site = load(tmp_path, SITE).site
    assert site.name == "lab"
    assert site.control_plane == ("n1", "n2", "n3")
    assert site.workers == ("n4",)
    assert site.hosts["n1"].parts == (Part.CONTROL_PLANE, Part.WORKER)
    assert site.hosts["n4"].parts == (Part.WORKER,)
    assert site.hosts["n4"].address == ip_address("10.0.0.14")
    assert site.network.machines == (ip_network("10.0.0.0/24"),)
    assert site.network.pods == (ip_network("10.244.0.0/16"),)
    assert site.settings(EngineSettings).speed == 5
    assert site.settings(LampSettings).lit


def test_an_optional_component_is_there_where_its_key_is(tmp_path: Path) -> None:
    assert not load(tmp_path, SITE).site.has(RadioSettings)
    site = load(tmp_path, SITE + "radio: {}\n").site
    assert site.has(RadioSettings)
    assert site.settings(RadioSettings).volume == 3
    assert load(tmp_path, SITE).site.has(LampSettings), "others are always there"


def test_an_optional_component_needs_a_value(tmp_path: Path) -> None:
    error = refusal(tmp_path, SITE + "radio:\n")
    assert (error.what, error.wanted) == (
        "radio has no value",
        "keys with values, a line each: KEY: VALUE; or {} for the defaults",
    )
    error = refusal(tmp_path, SITE + "radio: {volume: loud}\n")
    assert error.what == "radio.volume must be a whole number"


def test_the_schema_says_that_an_optional_component_may_be_left_out() -> None:
    schema = MODEL.model_json_schema()
    assert "radio" not in schema["required"]
    assert schema["properties"]["radio"]["$ref"] == "#/$defs/RadioSettings"


def test_the_digest_is_of_the_meaning(tmp_path: Path) -> None:
    plain = load(tmp_path, SITE).site.digest
    swapped = SITE.replace("name: lab\n", "") + "# a comment\nname: lab\n"
    assert load(tmp_path, swapped).site.digest == plain
    assert load(tmp_path, SITE.replace("speed: 5", "speed: 6")).site.digest != plain


def test_paths_start_at_the_site_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    site = load(tmp_path, SITE).site
    assert site.resolve(Path("keys/id")) == tmp_path / "keys/id"
    assert site.resolve(Path("/etc/id")) == Path("/etc/id")
    assert site.resolve(Path("~/id")) == Path("/home/someone/id")


def test_a_machines_connection_is_laid_over_the_sites(tmp_path: Path) -> None:
    text = SITE.replace(
        "n4: {address: 10.0.0.14}",
        "n4: {address: 10.0.0.14, connection: {port: 2222, key: null}}",
    )
    site = load(tmp_path, text + "connection: {user: admin, port: 22, key: id}\n").site
    assert site.connection_of("n1") == Connection(user="admin", port=22, key=Path("id"))
    # What a machine sets counts, null too: it takes the site's key away.
    assert site.connection_of("n4") == Connection(user="admin", port=2222)


@pytest.mark.parametrize("count", [1, 3, 5])
def test_one_three_or_five_control_plane_machines(tmp_path: Path, count: int) -> None:
    hosts = "".join(
        f"  n{number}: {{address: 10.0.0.{number}, parts: [control_plane]}}\n"
        for number in range(1, count + 1)
    )
    head, tail = SITE.split("hosts:\n")[0], SITE[SITE.index("network:") :]
    assert len(load(tmp_path, head + "hosts:\n" + hosts + tail).site.control_plane) == count


def test_two_families_side_by_side(tmp_path: Path) -> None:
    text = SITE.replace(
        "  machines: 10.0.0.0/24\n",
        "  machines: [10.0.0.0/24, 2001:db8::/64]\n"
        "  pods: [10.244.0.0/16, fd00:1::/56]\n  services: [10.96.0.0/16, fd00:2::/112]\n",
    )
    assert len(load(tmp_path, text).site.network.pods) == 2


def test_keys_that_look_like_numbers_are_text(tmp_path: Path) -> None:
    site = load(tmp_path, SITE.replace("n4:", "4:")).site
    assert site.workers == ("4",)


def test_merges_and_anchors_work(tmp_path: Path) -> None:
    text = SITE.replace("{speed: 5}", "{speed: 5, values: {a: &a {x: 1}, b: {<<: *a, y: 2}}}")
    assert load(tmp_path, text).site.settings(EngineSettings).values["b"] == {"x": 1, "y": 2}


def changed(old: str, new: str) -> str:
    assert old in SITE
    return SITE.replace(old, new, 1)


@pytest.mark.parametrize(
    ("text", "where", "what", "found", "wanted"),
    [
        pytest.param(
            SITE + "engin: {}\n",
            "10:1",
            "unknown key engin, did you mean engine?",
            "",
            "one of: bundle, connection, engine, hosts, lamp, name, network, os_packages, radio,"
            " secrets",
            id="unknown-component",
        ),
        pytest.param(
            changed("address: 10.0.0.12", "adress: 10.0.0.12"),
            "4:7",
            "the required setting hosts.n2.address is missing",
            "",
            "Address by which the machine is reached and which Kubernetes uses as its own",
            id="misspelt-required-key",
        ),
        pytest.param(
            changed("speed: 5", "speed: 5, gear: 2"),
            "9:20",
            "unknown key engine.gear",
            "",
            "one of: fuel, password, speed, values, wheels",
            id="unknown-nested-key",
        ),
        pytest.param(
            changed("{speed: 5}", "{speed: 5, wheels: [{size: 1}, {sise: 2}]}"),
            "9:40",
            "the required setting engine.wheels.1.size is missing",
            "",
            "Diameter in cm",
            id="missing-in-a-list",
        ),
        pytest.param(
            changed("engine: {speed: 5}\n", ""),
            "1:1",
            "the required setting engine is missing",
            "",
            "A component with every kind of setting",
            id="missing-component",
        ),
        pytest.param(
            changed("{speed: 5}", "fast"),
            "9:9",
            "engine must be a mapping",
            '"fast"',
            "keys with values, a line each: KEY: VALUE",
            id="text-for-a-mapping",
        ),
        pytest.param(
            changed("{speed: 5}", ""), "9:8", "engine has no value", "", "keys with", id="no-value"
        ),
        pytest.param(
            changed("speed: 5", "speed: quick"),
            "9:17",
            "engine.speed must be a whole number",
            '"quick"',
            "a whole number",
            id="text-for-a-number",
        ),
        pytest.param(
            changed("speed: 5", "speed: 5.5"),
            "9:17",
            "engine.speed must be a whole number",
            "5.5",
            "a whole number",
            id="fraction-for-a-whole-number",
        ),
        pytest.param(
            changed("speed: 5", "speed: 11"),
            "9:17",
            "engine.speed must be at most 10",
            "11",
            "",
            id="too-much",
        ),
        pytest.param(
            changed("speed: 5", "speed: 5, fuel: 1.36"),
            "9:26",
            "engine.fuel must be text",
            "1.36",
            "need quotes",
            id="number-for-text",
        ),
        pytest.param(
            changed("speed: 5", "speed: 5, fuel: x"),
            "9:26",
            "engine.fuel is too short; the least is 2 characters",
            '"x"',
            "",
            id="too-short",
        ),
        pytest.param(
            SITE + "lamp: {lit: maybe}\n",
            "10:13",
            "lamp.lit must be true or false",
            '"maybe"',
            "true or false",
            id="text-for-a-truth",
        ),
        pytest.param(
            changed("parts: [control_plane]}", "parts: [control-plane]}"),
            "4:36",
            "hosts.n2.parts.0 has a value that is not allowed",
            '"control-plane"',
            "one of: control_plane, worker",
            id="unknown-part",
        ),
        pytest.param(
            changed("parts: [control_plane]}", "parts: control_plane}"),
            "4:35",
            "hosts.n2.parts must be a list",
            '"control_plane"',
            "a list: [ONE, TWO]",
            id="text-for-a-list",
        ),
        pytest.param(
            changed("parts: [control_plane]}", "parts: []}"),
            "4:35",
            "hosts.n2.parts has too few entries; the least is 1",
            "",
            "",
            id="empty-list",
        ),
        pytest.param(
            changed("parts: [control_plane]}", "parts: [control_plane, control_plane]}"),
            "4:35",
            "hosts.n2.parts names a part twice",
            "",
            "",
            id="part-twice",
        ),
        pytest.param(
            changed("10.0.0.12", "10.0.0.300"),
            "4:17",
            "hosts.n2.address must be an IP address, such as 192.0.2.11",
            '"10.0.0.300"',
            "",
            id="no-address",
        ),
        pytest.param(
            changed("10.0.0.12", "12"),
            "4:17",
            "hosts.n2.address must be an IP address, such as 192.0.2.11",
            "12",
            "",
            id="number-for-an-address",
        ),
        pytest.param(
            changed("10.0.0.12", "10.0.0.11"),
            "4:17",
            "hosts.n2.address is 10.0.0.11, which hosts.n1 has already",
            "",
            "",
            id="duplicate-address",
        ),
        pytest.param(
            changed("  n2:", "  n1:"),
            "4:3",
            "the key 'n1' stands twice in one mapping, first at line 3",
            "",
            "",
            id="duplicate-host",
        ),
        pytest.param(
            changed("n2:", "N_2:"),
            "4:3",
            "hosts.N_2 does not have the form that it must have",
            '"N_2"',
            "a DNS label",
            id="host-name",
        ),
        pytest.param(
            changed("name: lab", "name: -lab"),
            "1:7",
            "name does not have the form that it must have",
            '"-lab"',
            "a DNS label",
            id="site-name",
        ),
        pytest.param(
            changed("10.0.0.12", "10.0.1.12"),
            "4:17",
            "hosts.n2.address 10.0.1.12 is outside network.machines (10.0.0.0/24)",
            "",
            "",
            id="address-outside",
        ),
        pytest.param(
            changed("10.0.0.12", "10.0.0.255"),
            "4:17",
            "hosts.n2.address 10.0.0.255 is the network's own or its broadcast address",
            "",
            "",
            id="broadcast-address",
        ),
        pytest.param(
            changed("10.0.0.12, parts: [control_plane]", "10.0.0.12"),
            "3:3",
            "hosts: 2 machines have the part control_plane, and etcd needs an odd number of"
            " members to survive a loss; let 1, 3 or 5 machines have it",
            "",
            "",
            id="even-control-plane",
        ),
        pytest.param(
            changed("10.0.0.0/24", "10.0.0.1/24"),
            "8:13",
            "network.machines must be a network, not an address in one; write 10.0.0.0/24",
            '"10.0.0.1/24"',
            "",
            id="host-bits",
        ),
        pytest.param(
            changed("10.0.0.0/24", "10.0.0.0"),
            "8:13",
            "network.machines must be a network in CIDR form, such as 192.0.2.0/24",
            '"10.0.0.0"',
            "",
            id="network-without-length",
        ),
        pytest.param(
            changed("10.0.0.0/24", "10.0.0.0/24\n  pods: 10.0.0.0/16"),
            "9:9",
            "network.pods 10.0.0.0/16 overlaps network.machines 10.0.0.0/24",
            "",
            "",
            id="overlapping-networks",
        ),
        pytest.param(
            changed("10.0.0.0/24", "10.0.0.0/24\n  services: 8.8.0.0/16"),
            "9:13",
            "network.services 8.8.0.0/16 is not private space; take it from 10.0.0.0/8,"
            " 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10 or fc00::/7",
            "",
            "",
            id="public-network",
        ),
        pytest.param(
            changed("10.0.0.0/24", "10.0.0.0/24\n  pods: 127.0.0.0/16"),
            "9:9",
            "network.pods 127.0.0.0/16 is not private space; take it from 10.0.0.0/8,"
            " 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10 or fc00::/7",
            "",
            "",
            id="loopback-network",
        ),
        pytest.param(
            changed("10.0.0.0/24", "[10.0.0.0/24, 10.1.0.0/24]"),
            "8:13",
            "network.machines names two networks of IPv4; give one of each family",
            "",
            "",
            id="one-family-twice",
        ),
        pytest.param(
            changed("10.0.0.0/24", "10.0.0.0/24\n  pods: fd00::/56"),
            "9:9",
            "network.pods begins with IPv6, and network.machines with IPv4; the first family must"
            " be the same",
            "",
            "",
            id="families-differ",
        ),
        pytest.param(
            changed("10.0.0.0/24", "10.0.0.0/24\n  pods: [10.244.0.0/16, fd00::/56]"),
            "8:3",
            "network.services must have as many families as network.pods: one, or both of two",
            "",
            "",
            id="half-dual-stack",
        ),
        pytest.param(
            SITE + "connection: {user: -oProxyCommand=x}\n",
            "10:20",
            "connection.user does not have the form that it must have",
            '"-oProxyCommand=x"',
            "Login name; without it",
            id="option-as-user",
        ),
        pytest.param(
            SITE + "connection: {bastion: '-oProxyCommand=x'}\n",
            "10:23",
            "connection.bastion does not have the form that it must have",
            '"-oProxyCommand=x"',
            "",
            id="option-as-bastion",
        ),
        pytest.param(
            changed("machines: 10.0.0.0/24", "machines: 10.0.0.0/24\n  egress: [git.example.org]"),
            "9:12",
            "network.egress.0 does not have the form that it must have",
            '"git.example.org"',
            "HOST:PORT, such as git.example.org:443",
            id="egress-without-port",
        ),
        pytest.param(
            SITE + "connection: {port: 65536}\n",
            "10:20",
            "connection.port must be at most 65535",
            "65536",
            "",
            id="port",
        ),
        pytest.param(
            changed("speed: 5", "speed: 1:30"),
            "9:17",
            "engine.speed must be a whole number",
            '"1:30"',
            "",
            id="base-sixty",
        ),
    ],
)
def test_every_mistake_is_named_with_its_place(
    tmp_path: Path, text: str, where: str, what: str, found: str, wanted: str
) -> None:
    error = refusal(tmp_path, text)
    assert (error.what, position(error), error.found) == (what, where, found)
    assert wanted in error.wanted


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = changed("speed: 5", "speed: 50, gear: 1").replace("10.0.0.12", "somewhere")
    error = refusal(tmp_path, text)
    assert position(error) == "4:17"
    assert [line.split("site.yaml:")[1] for line in error.also] == [
        "9:17: engine.speed must be at most 10; found: 50",
        "9:21: unknown key engine.gear; wanted: one of: fuel, password, speed, values, wheels",
    ]


def test_what_does_not_fit_together_is_told_at_once(tmp_path: Path) -> None:
    text = changed("10.0.0.12", "10.0.0.11").replace("10.0.0.13", "10.9.9.9")
    error = refusal(tmp_path, text)
    assert position(error) == "4:17"
    assert len(error.also) == 1
    assert "site.yaml:5:17: hosts.n3.address 10.9.9.9 is outside" in error.also[0]


def test_a_hundred_mistakes_do_not_fill_the_screen(tmp_path: Path) -> None:
    error = refusal(tmp_path, SITE + "".join(f"unknown{number}: 1\n" for number in range(100)))
    assert len(error.also) == 21
    assert error.also[-1] == "and 79 more"


SECRET = "hunter2-is-no-password"


@pytest.mark.parametrize(
    "password",
    [
        SECRET,
        f"[{SECRET}]",
        f"{{value: {SECRET}}}",
        f"{{prompt: {SECRET}}}",
        f"{{file: [{SECRET}]}}",
        f"{{store: {{x: {SECRET}}}}}",
        f"{{prompt: true, store: {SECRET}}}",
        "{}",
    ],
)
def test_a_secret_that_stands_in_the_file_is_never_shown(tmp_path: Path, password: str) -> None:
    for text in (
        changed("speed: 5", f"speed: 5, password: {password}"),
        SITE + f"connection: {{sudo_password: {password}}}\n",
    ):
        error = refusal(tmp_path, text)
        assert SECRET not in str(error)
        assert "password" in error.what


def test_a_secret_in_place_of_its_reference_is_told_so(tmp_path: Path) -> None:
    error = refusal(tmp_path, SITE + f"connection: {{sudo_password: {SECRET}}}\n")
    assert error.what == "connection.sudo_password must name where the secret is, not be it"
    assert error.wanted == "exactly one of: {file: PATH}, {store: NAME}, {prompt: true}"


@pytest.mark.parametrize(
    "key", ["\\e[2J", "\\a", "\\u202e", "\\x7f"], ids=["clear", "bell", "right-to-left", "delete"]
)
def test_nothing_that_moves_the_terminal_is_printed(tmp_path: Path, key: str) -> None:
    for text in (SITE + f'"{key}": 1\n', SITE.replace("lab", f'"{key}"')):
        assert all(
            character.isprintable() or character == "\n"
            for character in str(refusal(tmp_path, text))
        )


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        load_site(tmp_path / "nonesuch.yaml", MODEL)
    assert "provision init" in caught.value.fix
    with pytest.raises(ConfigError, match="cannot be read"):
        load_site(tmp_path, MODEL)


@pytest.mark.parametrize("text", ["just text", "- a\n- b\n", "42", "~"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    assert "mapping of keys" in refusal(tmp_path, text).what
