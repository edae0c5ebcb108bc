"""The part of an entry that can be erased: personal and sensitive values, kept apart from the bytes that are hashed.

    hashed    {"v": 2, …, "apart": {"commitment": "9f…", "fields": ["/object"]}, "body": {"object": "<apart>", …}}
    apart     {"/object": "charge/ch_3PqL"}

The commitment is SHA-256 over 32 random bytes, the opening, and the canonical JSON of what stands apart. Whoever has
the opening can check that a payload is the recorded one; without it nobody can find a payload by trying, however few it
may be. Erasing destroys the payload, and the salt that its key and its opening come from; the hashed bytes stay.

Each field keeps its type where it is not: a text says so, an object or a list is empty. What decided, whom it was
about, on which system and when is never apart, nor who did a deed (`actor`): an erasure cannot hide one.

INVARIANT: an entry of version 2 has `apart`; one of version 1 has nothing apart, and nothing of it can be erased.
INVARIANT: a field that is apart is named in the hashed bytes: what an erasure took away is told for ever.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from charter.core.canonical import canonical
from charter.evidence.charter_verify import APART, commitment_of

SALT_BYTES = 32
ERASED = "<erased>"
MAX_FIELDS = 64

_REASON, _DIGEST = ("reason",), ("call_digest",)
_REASONED = (  # kinds of which no more stands apart than why a person did it
    *("plan.proposed", "plan.approved", "plan.refused", "right-size.accepted", "right-size.kept"),
    *("credential.registered", "credential.revoked", "credential.rotated", "credential.retired", "key.rotated"),
    *("lease.recorded", "lease.ending", "lease.revoked", "repeat.ended", "stand-in.changed", "composition.reviewed"),
    *("delegation.withdrawn", "delegation.switched"),
)
_FOUND = (  # whom a finding is about, from where they came, and what behaviour is told by: objects and people
    *(("title",), _REASON, ("actor",), ("owner",), ("offered_by",), ("source",), ("key",)),
    *(("uses", "*", "source"), ("contributions", "*", "key"), ("contributions", "*", "sentence")),
)
FIELDS: Mapping[str, tuple[tuple[str, ...], ...]] = {  # kind -> paths; `*` is each of a list
    "verdict": (
        ("object",),
        _DIGEST,  # of few possible calls it would tell which
        ("source",),
        ("asked", "arguments"),
        ("chain", "initiator"),
        ("reasons", "*", "text"),
        ("reasons", "*", "mend"),
    ),
    "outcome": (("result_digest",),),
    "observed": (
        *(("who",), ("actor",), ("object",), ("error",), ("address",)),
        *(("more", "to"), ("more", "claimed"), ("more", "impersonates")),
    ),
    "question.refused": (("subject",), ("resource",), ("reasons", "*", "text"), ("reasons", "*", "mend")),
    "approval.asked": (_DIGEST,),
    "approval.given": (_DIGEST, _REASON),
    "approval.refused": (_DIGEST, _REASON),
    "approval.cancelled": (_DIGEST, _REASON),
    "repeat.given": (_REASON,),
    "standing.changed": (_REASON,),
    "person.changed": (("user_name",),),
    "operator.signed-in": (("source",),),
    "delegation.made": (("initiator",), ("lender_name",), _REASON),
    "authentication": (("source",),),
    "finding.opened": _FOUND,
    "finding.changed": _FOUND,
    "behaviour.accepted": (("key",), _REASON),
    "actor.identified": (("name",), _REASON),
} | dict.fromkeys(_REASONED, (_REASON,))


_Fields = Mapping[str, Any]  # step -> what of it stands apart, in the same form; nothing more: all of it


def _tree(paths: Sequence[tuple[str, ...]]) -> _Fields:
    """Return paths as one tree, so that each part of a body is looked at once."""
    steps = dict.fromkeys(path[0] for path in paths if path)
    return {step: _tree([path[1:] for path in paths if path[:1] == (step,) and path[1:]]) for step in steps}


_TREES = {kind: _tree(paths) for kind, paths in FIELDS.items()}


class Apart(msgspec.Struct, frozen=True):
    """What stands apart of one entry: the canonical `payload`, and the random `salt` that its secrets come from."""

    payload: bytes
    salt: bytes


def opening_of(salt: bytes) -> bytes:
    """Return what opens a commitment. It may be handed over with the payload: the salt does not follow from it."""
    return hmac.new(salt, b"charter evidence opening", "sha256").digest()  # `digest` lets the interpreter go meanwhile


def set_apart(
    kind: str, body: dict[str, Any], salt: Callable[[int], bytes]
) -> tuple[dict[str, Any], dict[str, Any], Apart] | None:
    """Return the body without what can be erased, what the entry says of that, and that; None if there is nothing.

    `body` is not changed. `salt` gives as many random bytes as it is asked for.
    """
    tree = _TREES.get(kind)
    if tree is None:
        return None
    taken: dict[str, Any] = {}
    left = _without(body, tree, "", taken)
    if not taken:
        return None
    apart = Apart(canonical(taken), salt(SALT_BYTES))
    said = {"commitment": commitment_of(opening_of(apart.salt), apart.payload), "fields": sorted(taken)}
    return left, said, apart


def _without(value: Any, fields: _Fields, at: str, taken: dict[str, Any]) -> Any:  # noqa: ANN401 - any JSON
    """Return `value` without its `fields`, which are put into `taken`; `value` itself is not touched."""
    if not fields:
        return _taken(value, at, taken)
    if isinstance(value, dict):
        left = value
        for step, inner in fields.items():
            found = value.get(step)
            if found is None:
                continue
            changed = _without(found, inner, f"{at}/{step}", taken)
            if changed is not found:
                left = value.copy() if left is value else left
                left[step] = changed
        return left
    each = fields.get("*")
    if each is None or not isinstance(value, list | tuple):
        return value
    return [_without(item, each, f"{at}/{number}", taken) for number, item in enumerate(value)]


def _taken(value: Any, at: str, taken: dict[str, Any]) -> Any:  # noqa: ANN401 - any JSON
    """Put `value` into `taken`, if there is anything to erase and room; return what stands where it was."""
    if value is None or value in ("", {}, []) or isinstance(value, bool | int) or len(taken) >= MAX_FIELDS:
        return value
    taken[at] = value
    return APART if isinstance(value, str) else type(value)()


def whole(entry: dict[str, Any], payload: bytes | None) -> dict[str, Any]:
    """Return what an entry says, with what stood apart put back; where that is gone, its texts say so.

    `entry` is the parsed entry and is changed.
    """
    said = entry.get("apart")
    if not isinstance(said, dict):
        return entry
    found: Mapping[str, Any] = msgspec.json.decode(payload) if payload is not None else {}
    for place in said.get("fields", ()):
        steps = str(place).split("/")[1:]
        holder: Any = entry.get("body")
        for step in steps[:-1]:
            holder = _within(holder, step)
        if isinstance(holder, dict) and steps and steps[-1] in holder:
            was = holder[steps[-1]]
            holder[steps[-1]] = found.get(place, ERASED if isinstance(was, str) else was)
    return entry


def told(data: bytes, payload: bytes | None) -> bytes:
    """Return what an entry says, as JSON that need not be the hashed bytes: for readers who want what stands apart."""
    return data if b'"apart":' not in data else msgspec.json.encode(whole(msgspec.json.decode(data), payload))


def _within(holder: Any, step: str) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(holder, list) and step.isdecimal() and int(step) < len(holder):
        return holder[int(step)]
    return holder.get(step) if isinstance(holder, dict) else None


def known(text: str) -> str:
    """Return a text that an entry tells, or nothing where it was erased: no rule may compare the word for that."""
    return "" if text == ERASED else text


def texts_of(payload: bytes) -> Iterator[str]:
    """Yield every text that stands apart, wherever it is nested."""
    pending: list[Any] = [msgspec.json.decode(payload)]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            pending += value.values()
        elif isinstance(value, list):
            pending += value
