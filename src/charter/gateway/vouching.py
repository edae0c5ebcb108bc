"""From what an enforcement point asks to a principal and a call: whom it means, and what of the estate.

    subject    a principal by its name, id or SPIFFE ID; as proof, its own access token in `context.access_token`; the
               delegation it acts under in the token, or named in `context.delegation`
    resource   an object of a system: `type` is the system, or one of the words its file gives; `id` becomes the path
    action     an action of that system; its properties are the call's arguments
    further    what the point says of subject, resource and context is read as `asked.resource.status`

INVARIANT: a point is answered about systems whose files name it, and about nothing else.
INVARIANT: a token counts only for the system it is made out to, and for the subject that the point names.
INVARIANT: what is said of a subject is judged as data about it and never as who it is.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

from charter.core.canonical import digest_of
from charter.core.errors import CharterError, ErrorCode, MalformedError
from charter.gateway.call import Bearer, Call
from charter.gateway.coaz import IDENTITY, action_meant, object_meant, system_meant
from charter.gateway.coaz import TYPES as COAZ_TYPES
from charter.gateway.evaluation import Entity, Evaluation
from charter.identity.bearer import Proof, Vouched
from charter.identity.resource import resource_of
from charter.identity.tokens import Verified
from charter.policy.object_path import fill_template
from charter.policy.verdict import Deny, Layer, Reason
from charter.registry.delegation import is_person
from charter.registry.enforcement import ASKED, PRINCIPAL, Enforcement, ResourceWords
from charter.registry.principal import LiveEstate, Principal, SystemRecord
from charter.registry.problem import nearest
from charter.registry.system import SystemKind

RULE = "built-in/question"
TOKEN, DELEGATION, AGENT = "access_token", "delegation", "agent"  # members of a context that say who asks
NATIVE = ResourceWords()
MAX_REQUEST_ID = 128  # characters of it that evidence keeps


class TokenReader(Protocol):
    """Reads access tokens, whoever presents them."""

    def read(self, token: str, *, at: dt.datetime) -> Verified:
        """Return what a token of ours says, or raise UnauthenticatedError."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where a type of resource belongs, in the estate's words."""

    record: SystemRecord
    enforcement: Enforcement
    words: ResourceWords
    is_identity: bool = False  # whether subjects may be told as MCP's are: by the token's `sub`, and the agent beside
    is_message: bool = False  # whether the question is about an MCP message (coaz.py)

    def path(self, question: Evaluation) -> str | None:
        """Return the object's path that a question names; None: what the action's template makes of its arguments.

        Raises:
            MalformedError: it is none that everybody reads alike.
        """
        named = object_meant(question) if self.is_message else question.resource.id
        return None if named is None else fill_template(self.words.object, {"id": named})

    def action(self, question: Evaluation) -> str:
        """Return the action that a question names, whether or not the system has it."""
        found = action_meant(self.record.system, question) if self.is_message else None
        return found or question.action.name

    def calls_principals(self, kind: str) -> bool:
        """Whether a principal may be called `kind`."""
        return self.enforcement.calls_principals(kind) or (self.is_identity and kind == IDENTITY)

    def id_of(self, path: str) -> str | None:
        """Return the id that stands for an object's path; None if none does."""
        before, _, after = self.words.object.partition("{id}")
        long_enough = len(path) > len(before) + len(after)
        fits = long_enough and path.startswith(before) and path.endswith(after)
        return path[len(before) : len(path) - len(after)] if fits else None


@dataclass(frozen=True, slots=True)
class Point:
    """One enforcement point: the places that it may ask about, by the types of resources that it may name."""

    name: str
    places: Mapping[str, Place]
    records: tuple[SystemRecord, ...]


class Points:
    """The enforcement points of an estate, found again whenever its systems change."""

    def __init__(self, live: LiveEstate) -> None:
        self._live = live
        self._seen: tuple[int, int] = (-1, -1)
        self._found: dict[str, Point] = {}

    def of(self, name: str) -> Point | None:
        """Return the enforcement point called `name`; None if no system names it."""
        seen = (self._live.policy_generation, len(self._live.systems))
        if seen != self._seen:
            self._found, self._seen = _points(list(self._live.systems.values())), seen
        return self._found.get(name)


def _points(records: list[SystemRecord]) -> dict[str, Point]:
    meanings: dict[tuple[str, str], list[Place]] = {}
    places: dict[str, dict[str, Place]] = {}
    named: dict[str, list[SystemRecord]] = {}
    for record in records:
        enforcement = record.system.enforcement
        for name in enforcement.points if enforcement is not None else ():
            assert enforcement is not None  # noqa: S101 - there are no points without
            named.setdefault(name, []).append(record)
            words = dict(enforcement.resources) | {record.name: NATIVE}
            for kind, meant in words.items():
                meanings.setdefault((name, kind), []).append(Place(record, enforcement, meant))
    for (name, kind), meant_by in meanings.items():
        if len(meant_by) == 1:  # a word of two systems means neither: nobody could say which was asked about
            places.setdefault(name, {})[kind] = meant_by[0]
    return {name: Point(name, places.get(name, {}), tuple(named[name])) for name in named}


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks, and with what: the point's own token, and the name it gave its request."""

    point: Point
    bearer: Bearer
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Understood:
    """A question in the estate's words."""

    bearer: Vouched
    call: Call
    place: Place


class Vouching:
    """Understands questions. Satisfies what the decision API needs of it."""

    def __init__(self, live: LiveEstate, tokens: TokenReader, issuer: str, *, coaz: bool = False) -> None:
        self._live = live
        self._tokens = tokens
        self._issuer = issuer
        self._coaz = coaz  # whether questions about MCP messages are understood

    def understood(self, asking: Asking, question: Evaluation, at: dt.datetime) -> Understood | Deny:
        """Return the principal and the call that a question is about; a denial where it means nothing here."""
        place = self.place(asking, question)
        if isinstance(place, Deny):
            return place
        try:
            bearer = self.subject(asking, place, question.subject, question.context, at)
            if isinstance(bearer, Deny):
                return bearer
            return Understood(bearer, self.call(asking, place, question, bearer.principal_name), place)
        except CharterError as err:
            return denied(asking, err.detail, err.help or "mend the question")

    def place(self, asking: Asking, question: Evaluation) -> Place | Deny:
        """Return where what a question is about belongs."""
        kind = question.resource.type
        found = asking.point.places.get(kind)
        if found is not None:
            is_mcp = self._coaz and found.record.system.kind is SystemKind.MCP
            return replace(found, is_identity=True) if is_mcp else found
        if self._coaz and kind in COAZ_TYPES:
            return self._of_message(asking, question)
        close = nearest(kind[:128], asking.point.places)
        help = f"did you mean `{close}`?" if close else "name it under `enforcement.resources` in the system's file"
        return denied(asking, f"{kind[:128]!a} is no type of resource that `{asking.point.name}` enforces", help)

    def _of_message(self, asking: Asking, question: Evaluation) -> Place | Deny:
        records = asking.point.records
        addresses = {resource_of(self._issuer, record.name): record.name for record in records}
        record = system_meant(records, question, addresses)
        if record is None or record.system.enforcement is None:
            message = question.action.name[:128]
            text = f"not exactly one MCP system that `{asking.point.name}` enforces knows the message {message!a}"
            mend = "declare the action, or a mapping in the tool's schema (docs/decision-api.md)"
            return denied(asking, text, mend)
        return Place(record, record.system.enforcement, NATIVE, is_identity=True, is_message=True)

    def subject(
        self, asking: Asking, place: Place, subject: Entity, context: Mapping[str, Any], at: dt.datetime
    ) -> Vouched | Deny:
        """Return the principal that is meant, as the point vouches for it.

        Raises:
            CharterError: the token that came along proves nothing here.
        """
        if not place.calls_principals(subject.type):
            text = f"{subject.type[:128]!a} is no type of subject on `{place.record.name}`"
            known = ", ".join((PRINCIPAL, *place.enforcement.subjects.types))
            return denied(asking, text, f"there is {known}; its file gives others under `enforcement.subjects`")
        agent = _text(context, AGENT) if subject.type == IDENTITY and place.is_identity else None
        token = _text(context, TOKEN)
        if token is not None:
            return self._proved(asking, place, (subject.id, agent), self._tokens.read(token, at=at))
        acting = agent or subject.id
        principal = self.principal(acting)
        if principal is None:
            close = nearest(acting[:128], self._live.ids) if len(self._live.ids) <= _FEW else None
            help = f"did you mean `{close}`?" if close else "register it: charter plan, then charter apply"
            return denied(asking, f"there is no principal {acting[:128]!a}", help)
        found = self.vouched(asking, principal, _text(context, DELEGATION))
        if isinstance(found, Vouched) and not self._is_meant(subject.id, found):
            text = f"{subject.id[:128]!a} is not who `{principal.name}` acts for"
            return denied(asking, text, "name the delegation in `context.delegation`, or send the access token")
        return found

    def _is_meant(self, named: str, bearer: Bearer) -> bool:
        """Whether `named` is the principal itself, or whoever began the chain that it acts under."""
        if bearer.initiator is not None and (named.lower() if is_person(named) else named) == bearer.initiator:
            return True
        found = self.principal(named)
        return found is not None and found.id in (bearer.principal_id, bearer.initiator)

    def principal(self, named: str) -> Principal | None:
        """Return the principal with this id, SPIFFE ID or name."""
        live = self._live
        if named.startswith("prn_"):
            return live.principals.get(named)
        if named.startswith("spiffe://"):
            found = live.principal_named(named.rpartition("/")[2])
            return found if found is not None and found.spiffe_id == named else None
        return live.principal_named(named)

    def vouched(
        self, asking: Asking, principal: Principal, delegation: str | None = None, proof: Proof = Proof.WORD
    ) -> Vouched | Deny:
        """Return a principal without a token, acting for itself or under a delegation that the point names."""
        initiator = None
        if delegation is not None:
            chain = self._live.delegations.chain_of(delegation)
            if chain is None or chain.caller != principal.id:
                text = f"`{principal.name}` has no delegation {delegation[:64]!a}"
                return denied(asking, text, "name the one it acts under: charter delegations ls")
            initiator = chain.initiator
        return Vouched(
            principal_id=principal.id,
            principal_name=principal.name,
            epoch=principal.epoch,
            charter_digest=principal.digest,
            token_id="",
            credential="",
            expires_at=asking.bearer.expires_at,
            delegation=delegation,
            initiator=initiator,
            point=asking.bearer,
            proof=proof,
        )

    def _proved(self, asking: Asking, place: Place, named: tuple[str, str | None], token: Verified) -> Vouched | Deny:
        """Return the principal whose token came along, if it is the one that the point `named`, and the agent."""
        subject, agent = named
        wanted = resource_of(self._issuer, place.record.name)
        if token.audience != wanted:
            text = "the access token that came along is made out to another system"
            return denied(asking, text, f"let the subject ask for one with {wanted}")
        bearer = token.bearer
        acting = None if agent is None else self.principal(agent)
        is_agent = agent is None or (acting is not None and acting.id == bearer.principal_id)
        if not is_agent or not self._is_meant(subject, bearer):
            text = "the access token that came along is another's than the subject's"
            return denied(asking, text, "send the subject's own, and name whom it speaks for")
        known = {each.name: getattr(bearer, each.name) for each in fields(Bearer)}
        return Vouched(**known, point=asking.bearer, proof=Proof.TOKEN)

    def call(self, asking: Asking, place: Place, question: Evaluation, subject: str) -> Call:
        """Return the call that is asked about.

        Raises:
            MalformedError: the resource names no object, or two things are told under one name.
        """
        enforcement, action = place.enforcement, place.action(question)
        known = place.record.system.actions.get(action)
        said = question.subject.properties, question.resource.properties
        about = {
            "subject": dict(enforcement.subjects.known.get(subject, {})) | without_actor(said[0]),
            "resource": dict(place.words.known.get(question.resource.id, {})) | said[1],
            "context": {name: question.context[name] for name in enforcement.context if name in question.context},
        }
        arguments = dict(question.action.properties)
        if ASKED in arguments:
            text = f"the action has a property `{ASKED}`, under which policies find what is told of the question"
            raise MalformedError(ErrorCode.BAD_REQUEST, text, help="give it another name")
        told = {name: said for name, said in about.items() if said}
        if told:
            arguments[ASKED] = told
        tool = known.tool if known is not None else action
        path = place.path(question)
        named = {"system": place.record.name, "tool": tool, "arguments": arguments, "object": path}
        return Call(
            system=place.record.name,
            tool=tool,
            arguments=arguments,
            digest=digest_of(named),
            tool_pin=None,
            request_id=asking.request_id[:MAX_REQUEST_ID] if asking.request_id else None,
            object=path,
        )


_FEW = 2000  # names among which a misspelt one is looked for


def denied(asking: Asking, text: str, mend: str) -> Deny:
    """Return the denial of a question that means nothing here."""
    return Deny((Reason(Layer.SYSTEM, RULE, text, mend, asking.point.name),))


def without_actor(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is said of a subject, without the actor for it, which the chain says (and a point may leave out)."""
    return {name: said for name, said in properties.items() if name != "act"}


def _text(context: Mapping[str, Any], name: str) -> str | None:
    value = context.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise MalformedError(ErrorCode.BAD_REQUEST, f"`context.{name}` is no text", help="see docs/decision-api.md")
    return value
