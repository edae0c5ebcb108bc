"""What people do to authority: change a standing, answer an approval, register and revoke keys, rotate signing keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from charter.bootstrap import lease_keeping
from charter.bootstrap.inventory import approval_view
from charter.core.errors import ErrorCode, MalformedError
from charter.gateway.denied_now import denied_now
from charter.identity import credential
from charter.identity.certificate import certificate_in
from charter.identity.keys import KeyUse, SigningKey
from charter.identity.secret import fresh_secret, keep_secret
from charter.identity.weakness import reconcile
from charter.identity.x509_authority import Authority, AuthorityRole
from charter.lifecycle import approvals as answering
from charter.lifecycle import emergency, leases, repeats
from charter.registry.approval import Approval
from charter.registry.repeat import Repeat, Terms
from charter.registry.standing import Move

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction
    from charter.registry.principal import Principal

SETTLE_SECONDS = 5.0  # that a withdrawal waits for credentials at other systems to be taken back
_ENDING = (Move.SUSPEND, Move.KILL, Move.RETIRE)


async def move(house: House, name: str, to: Move, *, actor: str, reason: str) -> dict[str, Any]:
    """Change a principal's standing; return what was done, with times in milliseconds since it was asked.

    Raises:
        AbsentError: no principal has this name.
        ConflictError: the move is not legal from its standing.
    """
    clock = house.clock
    started = clock.monotonic()
    principal = house.principal(name)
    steps: list[dict[str, Any]] = []

    def step(what: str) -> None:
        steps.append({"ms": round((clock.monotonic() - started) * 1000, 3), "what": what})

    ended: list[tuple[int, int]] = []

    def then(streams: int, permits: int) -> None:
        step("durable in the evidence, and in force for every decision and token")
        ended.append((streams, permits))

    moved, leased = await house.database.awrite(
        lambda tx: move_within(house, tx, principal, to, actor=actor, reason=reason, then=then)
    )
    for streams, permits in ended if to in _ENDING else ():
        step(f"{streams} open streams ended, {permits} unspent permits withdrawn")
    if leased:
        revoked = await lease_keeping.settle(house.leasing, leased, SETTLE_SECONDS)
        step(
            f"{revoked} of {len(leased)} leases revoked"
            + ("" if revoked == len(leased) else "; the rest is tried again")
        )
    return {"name": name, "before": moved.before.value, "after": moved.after.value, "steps": steps, "reason": reason}


def move_within(  # noqa: PLR0913 - each is decided by the caller, and named there
    house: House,
    tx: HouseTransaction,
    principal: Principal,
    to: Move,
    *,
    actor: str,
    reason: str,
    then: Callable[[int, int], None] = lambda _streams, _permits: None,
) -> tuple[emergency.Moved, list[str]]:
    """Change a principal's standing with all that ends with it; return what was done, and the leases to revoke. A work.

    `then` is told how many streams and permits ended, before anyone is answered.
    """
    name, is_ending = principal.name, to in _ENDING
    why = f"the authority of `{name}` was withdrawn: {to.value}"

    def after_commit() -> None:
        """On the writer's thread: no call can be admitted between commit and here."""
        then(*(house.pipeline.withdrawn(principal.id, why) if is_ending else (0, 0)))

    done = emergency.move(tx, name, to, actor=actor, reason=reason, then=after_commit)
    repeats.end_of(tx, principal.id, actor=actor, reason=f"{to.value}: {reason}")
    if to in (Move.KILL, Move.RETIRE):
        reconcile(tx, [done.principal], entropy=house.entropy, actor=actor)
    rest = leases.end_resting(tx, house.leasing.book, [principal.id], why=why, actor=actor) if is_ending else ()
    return done, [each.id for each in rest]


async def answer(
    house: House, approval_id: str, *, yes: bool, person: str, reason: str, further: Terms | None = None
) -> dict[str, Any]:
    """Record a person's yes or no to an approval; return the approval as it stands now.

    `further` says which calls like it are approved besides, if it is a yes; the answer then tells of that too. To a
    yes it tells why the call would be denied all the same, as things are (`denied`): another hour may see it pass.
    """

    def told(approved: Approval) -> dict[str, Any]:
        why = denied_now(approved, house.live, house.slices, house.pipeline.evaluator, house.clock.now())
        return approval_view(approved) | {"denied": why}

    if yes and further is not None:

        def work(tx: HouseTransaction) -> tuple[Approval, Repeat]:
            return repeats.approve_further(
                tx, approval_id, further, person=person, reason=reason, entropy=house.entropy
            )

        approved, repeat = await house.database.awrite(work)
        return told(approved) | {"further": repeats.told(repeat)}
    deed = answering.approve if yes else answering.refuse
    answered = await house.database.awrite(lambda tx: deed(tx, approval_id, person=person, reason=reason))
    return told(answered) if yes else approval_view(answered)


async def end_repeat(house: House, repeat_id: str, *, person: str, reason: str) -> dict[str, Any]:
    """Take a yes to further calls back; return what was left of it.

    Raises:
        AbsentError: there is none of this id any more.
    """
    ended = await house.database.awrite(lambda tx: repeats.end(tx, repeat_id, person=person, reason=reason))
    return repeats.told(ended)


async def register_key(
    house: House,
    name: str,
    jwk: dict[str, Any] | None,
    *,
    certificate: str | None = None,
    actor: str,
    reason: str,
) -> dict[str, Any]:
    """Register the public half of a client's key: a JWK, or a certificate in PEM that holds it.

    Raises:
        MalformedError: neither is given, or it is none.
    """
    principal = house.principal(name)
    shown = certificate_in(certificate) if certificate is not None else None
    public = jwk if jwk is not None else shown.jwk if shown else None
    if public is None:
        raise MalformedError(
            ErrorCode.BAD_VALUE,
            "there is no key that can be registered",
            help="use EC with P-256, or Ed25519: charter key add NAME FILE",
        )

    def work(tx: HouseTransaction) -> credential.Registration:
        der, seen = shown.der if shown else None, house.sharing.uses.holder_of
        return credential.register_key(
            tx, principal, public, actor=actor, reason=reason, entropy=house.entropy, certificate=der, shown_by=seen
        )

    found = await house.database.awrite(work)
    key = credential.required(found)
    return {"principal": name, "client_id": principal.id, "key": key.id, "thumbprint": key.thumbprint}


async def make_secret(house: House, name: str, *, actor: str, reason: str) -> dict[str, Any]:
    """Make a shared secret for a principal whose charter says `legacy-secret`; the answer is its only copy."""
    principal, fresh = house.principal(name), fresh_secret(house.entropy)
    key = await house.database.awrite(lambda tx: keep_secret(tx, principal, fresh, actor=actor, reason=reason))
    told = {"principal": name, "client_id": principal.id, "key": key.id}
    return told | {"secret": fresh.secret.reveal().decode()}


async def revoke_key(house: House, name: str, key_id: str, *, actor: str, reason: str) -> dict[str, Any]:
    """Revoke one key of a principal; the identity stays, and what the key obtained is dead at once."""
    principal = house.principal(name)
    key = await house.database.awrite(
        lambda tx: credential.revoke_key(tx, principal, key_id, actor=actor, reason=reason)
    )
    house.pipeline.withdrawn(principal.id, f"a key of `{name}` was revoked")
    return {"principal": name, "key": key.id, "standing": key.standing.value}


async def rotate(house: House, use: str, *, actor: str, reason: str, at_once: bool = False) -> dict[str, Any]:
    """Let the next signing key or authority of `use` sign from now on.

    `at_once` is for one that was stolen: it leaves the key set or trust bundle, and what it signed is worthless; of
    evidence and charters, what it signed from now on.

    Raises:
        MalformedError: an intermediate shall go at once.
    """
    if at_once and use == AuthorityRole.INTERMEDIATE:
        raise MalformedError(
            ErrorCode.BAD_VALUE,
            "an intermediate does not leave at once: what it signed leads to its root",
            help="its root does, and takes it along: charter rotate x509-root --at-once",
        )

    def work(tx: HouseTransaction) -> SigningKey | Authority:
        match use:
            case AuthorityRole.ROOT:
                return house.trust.rotate_root(tx, actor=actor, reason=reason, at_once=at_once)
            case AuthorityRole.INTERMEDIATE:
                return house.trust.rotate_intermediate(tx, actor=actor, reason=reason)
            case KeyUse.JWT_SVID:
                return house.trust.rotate_jwt_key(tx, actor=actor, reason=reason, at_once=at_once)
            case _:
                return house.ring.rotate(tx, use, actor=actor, reason=reason, at_once=at_once)

    key = await house.database.awrite(work)
    return {"use": use, "key_id": key.id, "state": key.state.value}
