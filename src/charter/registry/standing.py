"""Standing: may this be used right now? One function answers for every path that could grant anything.

INVARIANT: token issuance, introspection, decisions, open streams and approvals all ask `may_act` and nothing else. A
property test (tests/attacks) enumerates those paths. Peers shipped disable buttons that stopped nothing because some
paths asked a different question.
"""

from __future__ import annotations

import datetime as dt
from enum import StrEnum

import msgspec

from charter.core.errors import ConflictError, ErrorCode


class Standing(StrEnum):
    """Whether a principal, credential, delegation or system may be used right now."""

    ACTIVE = "active"
    RESTRAINED = "restrained"  # every state-changing call needs a person
    SUSPENDED = "suspended"
    REVOKED = "revoked"
    RETIRED = "retired"


class Move(StrEnum):
    """What a person (or a rule) can do to a standing."""

    RESTRAIN = "restrain"
    SUSPEND = "suspend"
    RESUME = "resume"
    KILL = "kill"
    RETIRE = "retire"


_LEGAL: dict[tuple[Standing, Move], Standing] = {
    (Standing.ACTIVE, Move.RESTRAIN): Standing.RESTRAINED,
    (Standing.ACTIVE, Move.SUSPEND): Standing.SUSPENDED,
    (Standing.RESTRAINED, Move.SUSPEND): Standing.SUSPENDED,
    (Standing.RESTRAINED, Move.RESUME): Standing.ACTIVE,
    (Standing.SUSPENDED, Move.RESUME): Standing.ACTIVE,
    (Standing.SUSPENDED, Move.RESTRAIN): Standing.RESTRAINED,
    **{(s, Move.KILL): Standing.REVOKED for s in (Standing.ACTIVE, Standing.RESTRAINED, Standing.SUSPENDED)},
    **{(s, Move.RETIRE): Standing.RETIRED for s in Standing if s is not Standing.RETIRED},
}


def moved(standing: Standing, move: Move, name: str) -> Standing:
    """Return the standing that `move` leads to.

    Raises:
        ConflictError: the move is not legal from here; revoked and retired are terminal.
    """
    try:
        return _LEGAL[standing, move]
    except KeyError:
        legal = sorted(m.value for s, m in _LEGAL if s is standing)
        raise ConflictError(
            ErrorCode.BAD_MOVE,
            f"`{name}` is {standing.value} and cannot {move.value}",
            help=f"from {standing.value} one can: {', '.join(legal)}" if legal else f"{standing.value} is final",
        ) from None


class Refusal(msgspec.Struct, frozen=True):
    """Why something may not act: one sentence, and what would mend it."""

    link: str  # the principal, credential or system that lacks standing
    text: str
    mend: str


class Subject(msgspec.Struct, frozen=True):
    """One thing whose standing is asked: a principal, a credential, a delegation or a system."""

    name: str
    standing: Standing
    expires: dt.datetime | None = None
    epoch: int = 0
    is_held: bool = False  # a finding suspends it, and no person
    lent: str = ""  # of a delegation, which nobody resumes or renews: between whom


def may_act(subject: Subject, *, at: dt.datetime, epoch: int | None = None) -> Refusal | None:
    """Return None if `subject` may be used at `at`, else why not.

    `epoch` is the subject's epoch as the token in hand names it; a token from before the last revocation is dead,
    whatever its expiry says. `restrained` may act: what needs a person is decided by the pipeline, call by call.
    """
    if subject.lent:
        return _lapse(subject, at)
    if subject.standing not in (Standing.ACTIVE, Standing.RESTRAINED):
        return Refusal(subject.name, f"`{subject.name}` is {subject.standing.value}", _way_back(subject))
    if subject.expires is not None and at >= subject.expires:
        return Refusal(
            subject.name,
            f"the charter of `{subject.name}` expired on {subject.expires.date().isoformat()}",
            "its owner can renew it: set a later `expires`, then charter plan and apply",
        )
    if epoch is not None and epoch != subject.epoch:
        return Refusal(
            subject.name,
            f"the token of `{subject.name}` is from before its authority was last withdrawn",
            "ask for a new token",
        )
    return None


def _way_back(subject: Subject) -> str:
    if subject.is_held:
        return f"a person can review what was found: charter findings, charter composition show {subject.name}"
    if subject.standing is Standing.SUSPENDED:
        return f"a person with authority can run: charter resume {subject.name}"
    return f"{subject.standing.value} is final; register a new principal or credential"


def _lapse(subject: Subject, at: dt.datetime) -> Refusal | None:
    """Return why a delegation may not be used any more."""
    mend = "whoever lent it can delegate again: charter delegate"
    if subject.standing is not Standing.ACTIVE:
        return Refusal(subject.name, f"the delegation `{subject.name}` {subject.lent} was withdrawn", mend)
    if subject.expires is not None and at >= subject.expires:
        ended = subject.expires.isoformat(timespec="seconds").replace("+00:00", "Z")
        return Refusal(subject.name, f"the delegation `{subject.name}` {subject.lent} ended at {ended}", mend)
    return None
