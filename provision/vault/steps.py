"""The steps that bring Vault up; each may be run again, and does only what is left to do."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from provision.errors import OperatorError, VaultRefusalError
from provision.gates import Gates
from provision.phase import GateSpec
from provision.vault.api import Member, VaultApi
from provision.vault.configuration import ORDER, Configuration, configuration_differences
from provision.vault.keys import Keys, KeySink

STATE_LEFT = "cluster already has state"
"""What Vault says where raft was set up, and nothing else was."""
LED_ELSEWHERE = ("not the leader", "leadership", "node not active", "timed out enqueuing")
"""What Vault, or hashicorp/raft (``api.go``), says of a request during which its members chose
another leader."""
ELECTIONS = 3
"""During how many of them a step is begun again."""
UNSEAL_SECONDS = 120
"""A new member first receives everything that the others hold."""


@dataclass(frozen=True)
class Sharing:
    """How the unsealing keys are shared out."""

    shares: int
    threshold: int
    pgp_keys: Sequence[str] = ()
    """In base64, one a share; without any, the shares are told as they are."""
    recovery: bool = False
    """Another Vault keeps the unsealing key, and the shares are those of a recovery key."""


def answering(api: VaultApi) -> Member:
    """How a member stands.

    Raises
    ------
    VaultRefusalError
        It does not answer. Whoever asks would take it for one that was never used.
    """
    member = api.member()
    if not member.answers:
        raise VaultRefusalError(
            "a member of Vault does not answer, and whether it was ever used is not known",
            found=member.error,
            fix="provision vault status",
        )
    return member


def begin_anew(kept: Keys, machine: str, member: Member) -> bool:
    """Whether ``machine`` begins anew in the attempt ``kept``, which has brought no keys yet.

    The one that was asked for them does: it may be initialised, or, where
    Vault refused or was killed on its way, not initialised but with raft set
    up, which no later call gets past.

    Raises
    ------
    VaultRefusalError
        Somebody may have its keys.
    """
    if member.initialized and kept.asked != machine:
        found = "it is initialised, and this site never asked it for keys"
    elif member.serves and member.seal == "shamir":
        found = "it is unsealed, which takes its keys"
    else:
        return kept.asked == machine
    raise VaultRefusalError(
        "Vault's keys are not in the site's secrets, and somebody may have them",
        where=machine,
        found=found,
        why="a Vault that may hold something is not begun anew",
        fix="bring the site's secrets here: provision secrets import FILE; or, if it is to go:"
        " provision reset",
    )


def refuse_strangers(apis: Mapping[str, VaultApi]) -> None:
    """Refuse to begin a Vault beside members of another one.

    Raises
    ------
    VaultRefusalError
        One is initialised, or does not answer.
    """
    strangers = [name for name, api in apis.items() if answering(api).initialized]
    if strangers:
        raise VaultRefusalError(
            "members are initialised, whose keys are not in the site's secrets",
            where=", ".join(strangers),
            why="a Vault is not begun beside another one, which may hold something",
            fix="bring the site's secrets here: provision secrets import FILE; or, if it is to go:"
            " provision reset",
        )


def joined_in_vain(refusal: VaultRefusalError) -> bool:
    """Whether a member was stopped on its way to the others, with raft set up and no data.

    Vault says so only of a member whose storage has no barrier, which is what
    makes anything in it readable; one that has is never let join.
    """
    return STATE_LEFT in refusal.found


def despite_elections(step: Callable[[], bool], wait: Callable[[], None]) -> bool:
    """Do a step, again where another leader was chosen meanwhile; what the step returns.

    ``wait`` returns once there is a leader. What was done before is still done: each step does
    only what is left.

    Raises
    ------
    VaultRefusalError
        Vault refuses for another reason, or again and again.
    """
    for _ in range(ELECTIONS):
        try:
            return step()
        except VaultRefusalError as refusal:
            if not any(word in refusal.found for word in LED_ELSEWHERE):
                raise
        wait()
    return step()


def initialise(api: VaultApi, sink: KeySink, sharing: Sharing, machine: str) -> bool:
    """Initialise Vault on ``machine`` and keep its keys; whether that was left to do.

    The sink holds the attempt already (:meth:`KeySink.begin`), and notes who is asked.

    Raises
    ------
    VaultRefusalError
        Vault is initialised, and its keys are not kept.
    """
    kept = sink.read()
    if kept is not None and kept.told:
        return False
    if kept is None or api.member().initialized:
        raise VaultRefusalError(
            "Vault is initialised already, and its keys are not in the site's secrets",
            why="without them it cannot be unsealed",
            fix="bring the site's secrets here: provision secrets import FILE",
        )
    sink.note_asked(machine)
    told = api.initialise(
        sharing.shares, sharing.threshold, sharing.pgp_keys, recovery=sharing.recovery
    )
    keys = Keys(
        kept.attempt,
        tuple(told["shares"]),
        sharing.threshold,
        encrypted=bool(sharing.pgp_keys),
        recovery=sharing.recovery,
        root_token=str(told["root_token"]),
    )
    sink.keep(keys)
    return True


def unseal(
    api: VaultApi,
    shares: Sequence[str],
    *,
    leader: str = "",
    authority: str = "",
    gates: Callable[..., Gates] = Gates,
) -> bool:
    """Unseal one member, which joins the others first where it is new; whether it was sealed.

    One of the others must be active then.

    Without shares it unseals itself, with the key that another Vault keeps.

    Parameters
    ----------
    leader, authority
        Address of the member that is joined, and the certificate to trust it by.
    """
    member = api.member()
    if member.serves:
        return False
    if not member.initialized and leader:
        api.join(leader, authority)
    if member.progress:
        # They may be another Vault's, and would spoil the right ones.
        api.forget_shares()
    for share in shares:
        if api.unseal(share).serves:
            break
    wait_until_serving(api, gates=gates)
    return True


def wait_until_serving(
    api: VaultApi, *, gates: Callable[..., Gates] = Gates, seconds: float = UNSEAL_SECONDS
) -> None:
    """Return once a member is unsealed.

    Raises
    ------
    DeadlineError
        It is not in time.
    """

    def serving() -> tuple[bool, str]:
        member = api.member()
        return member.serves, member.error or _state(member)

    _wait("Vault unsealed", serving, gates, seconds)


def wait_until_active(apis: Sequence[VaultApi], *, gates: Callable[..., Gates] = Gates) -> None:
    """Return once one of the members is the active one, without which none can be joined.

    Raises
    ------
    DeadlineError
        None is in time.
    """

    def active() -> tuple[bool, str]:
        members = [api.member() for api in apis]
        said = "; ".join(member.error or _state(member) for member in members)
        return any(member.active for member in members), said

    _wait("a member of Vault active", active, gates)


def restore(
    api: VaultApi,
    snapshot: bytes,
    log_in: Callable[[], object],
    *,
    gates: Callable[..., Gates] = Gates,
) -> None:
    """Put a snapshot of this very Vault back, and return once it is what Vault holds.

    Vault takes it and answers before it has put it back; a policy that only
    the present has tells the two apart.
    """
    log_in()
    passing = f"provision-restoring-{secrets.token_hex(4)}"
    api.configure("policies", passing, "# Here until a snapshot is put back.\n")
    api.restore(snapshot, force=False)

    def restored() -> tuple[bool, str]:
        try:
            log_in()
            found = api.configuration({"policies": {passing: ""}})
        except OperatorError as error:
            return False, error.found or error.what
        return passing not in found["policies"], "Vault still holds what it held before"

    _wait("snapshot put back", restored, gates)


def replace_by(
    api: VaultApi,
    snapshot: bytes,
    log_in: Callable[[], object],
    *,
    gates: Callable[..., Gates] = Gates,
) -> None:
    """Replace a passing Vault by the snapshot of another, through its active member.

    A snapshot also says who its members were. So all of them must be members
    of the passing Vault already; one alone would wait for the others' votes.
    All of them have to be restarted then: they still hold the passing Vault's
    seal in memory.
    """
    api.restore(snapshot, force=True)

    def replaced() -> tuple[bool, str]:
        member = api.member()
        # Vault cannot read what it now holds, and seals itself.
        if member.error or member.sealed:
            return True, _state(member)
        # Where another Vault keeps the key it can, and this project's own user is there.
        try:
            log_in()
        except OperatorError as error:
            return False, error.found or error.what
        return True, _state(member)

    _wait("snapshot put back", replaced, gates)


def _wait(
    condition: str,
    look: Callable[[], tuple[bool, str]],
    gates: Callable[..., Gates],
    seconds: float = UNSEAL_SECONDS,
) -> None:
    gate = GateSpec(condition, seconds)
    gates({condition: lambda _: look()}).wait(gate, lambda _: None, lambda: False)


def configure(
    api: VaultApi,
    sink: KeySink,
    wanted: Configuration,
    passwords: Mapping[str, str],
    own_user: str,
) -> list[str]:
    """Make Vault hold what is wanted, and revoke the root token once it is not needed.

    Parameters
    ----------
    passwords
        By user, and secret ids by role; what exists keeps the one it has.
    own_user
        Whose login replaces the root token.

    Returns
    -------
    What was done, a phrase each.
    """
    keys = sink.read()
    done: list[str] = []
    root = keys.root_token if keys else ""
    if root:
        api.use(root)
        if not api.token_holds():
            # It was revoked, and the run ended before that was noted.
            root = ""
    if not root:
        api.login(own_user, passwords[own_user])
    found = api.configuration(wanted)
    for part in ORDER:
        for name, value in wanted.get(part, {}).items():
            one = {part: {name: value}}
            for difference in configuration_differences(one, found):
                new = name not in found.get(part, {})
                password = passwords[name] if part in ("users", "secret_ids") and new else ""
                api.configure(part, name, value, password=password)
                done.append(difference)
                break
    if root:
        api.login(own_user, passwords[own_user])
        api.configuration(wanted)
        api.use(root)
        api.revoke()
    if keys and keys.root_token:
        sink.keep(keys.without_root_token())
        done.append("root token is revoked")
    return done


def withdraw(api: VaultApi, configuration: Configuration) -> list[str]:
    """Take the auth methods of a configuration out of Vault, with all that is in them.

    Returns
    -------
    What was done, a phrase each.
    """
    found = api.configuration({"auth": configuration.get("auth", {})})
    for name in found["auth"]:
        api.disable_auth(name)
    return [f"auth method {name} is taken out" for name in found["auth"]]


def _state(member: Member) -> str:
    if not member.initialized:
        return "it has not joined yet"
    return "it is sealed" if member.sealed else "it serves"
