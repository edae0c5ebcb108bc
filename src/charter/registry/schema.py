"""JSON Schemas (draft 2020-12) of an estate's files, so that editors complete and check them while one types.

They are made from the models that judge the files, and say what people write: `200 EUR`, `90d`, `08:00-18:00
Europe/Berlin`. What a schema cannot say (a zone exists, a system has the action) `charter validate` checks.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from charter.registry.calendar import Calendars
from charter.registry.charter import Charter
from charter.registry.data_class import DataClasses
from charter.registry.duty import DutyFile
from charter.registry.fault import EXAMPLES
from charter.registry.flow import FlowFile
from charter.registry.issuer import Issuers
from charter.registry.pattern import CharterPattern
from charter.registry.purpose import PurposeFile
from charter.registry.response import ResponseFile
from charter.registry.rule import RuleFile
from charter.registry.sharing import SharingFile
from charter.registry.system import System
from charter.registry.team import Teams
from charter.registry.trial import TrialFile

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FOLDER = ".schema"
_FILES: dict[str, type[BaseModel]] = {
    "principal.json": Charter,
    "system.json": System,
    "teams.json": Teams,
    "issuers.json": Issuers,
    "data.json": DataClasses,
    "calendars.json": Calendars,
    "rules.json": RuleFile,
    "sharing.json": SharingFile,
    "responses.json": ResponseFile,
    "duties.json": DutyFile,
    "flow.json": FlowFile,
    "purposes.json": PurposeFile,
    "pattern.json": CharterPattern,
    "tests.json": TrialFile,
}
_QUANTITY = r"^-?[0-9]{1,12}(\.[0-9]{1,4})?( [A-Za-z%][A-Za-z0-9/%]{0,15})?$"
_DAY = "(mon|tue|wed|thu|fri|sat|sun)"
_DAYS = rf"^{_DAY}(-{_DAY})?(, *{_DAY}(-{_DAY})?)*$"
_HOURS = r"^([01][0-9]|2[0-4]):[0-5][0-9]-([01][0-9]|2[0-4]):[0-5][0-9] [A-Za-z][A-Za-z0-9_+/-]{1,48}$"

_WORKDAYS = "Only on working days: of a calendar in calendars.yaml, or of a region as in DE-BE."

# Definitions whose written form differs from the model's fields.
_WRITTEN: dict[str, dict[str, Any]] = {
    "Quantity": {
        "description": "A number with at most 4 decimals, and perhaps a unit.",
        "anyOf": [{"type": "string", "pattern": _QUANTITY}, {"type": "number"}],
        "examples": ["200 EUR", 10, "5 MB"],
    },
    "Hours": {
        "description": "A daily window with its time zone; start included, end not. It may cross midnight.",
        "type": "string",
        "pattern": _HOURS,
        "examples": ["08:00-18:00 Europe/Berlin"],
    },
    "When": {
        "description": "Conditions that must all hold: hours, days, and conditions on arguments by their names.",
        "type": "object",
        "properties": {
            "hours": {"$ref": "#/$defs/Hours"},
            "days": {"$ref": "#/$defs/Days"},
            "workdays": {"type": "string", "description": _WORKDAYS, "examples": ["office", "DE-BE"]},
            "arguments": {
                "description": "Conditions on arguments whose names are hours, days, workdays or arguments.",
                "type": "object",
                "additionalProperties": {"$ref": "#/$defs/ArgumentCondition"},
            },
        },
        "additionalProperties": {"$ref": "#/$defs/ArgumentCondition"},
    },
    "Days": {
        "description": "Days of the week in the window's time zone, or in UTC.",
        "anyOf": [
            {"type": "string", "pattern": _DAYS},
            {"type": "array", "minItems": 1, "items": {"type": "string", "pattern": rf"^{_DAY}(-{_DAY})?$"}},
        ],
        "examples": ["mon-fri", "sat,sun"],
    },
}
_TOLD = {
    "purpose": "What it is for, in one sentence that a reviewer can hold it to.",
    "owner": "The person and team who answer for it.",
    "data": "The classes of data it may touch.",
    "approved": "Who approved this charter, in which role, and when. Not its owner.",
    "credential": "How its identity is proved. vendor-managed obtains no tokens from Charter.",
    "composition": "What it is made of, exactly: a change lowers its standing until someone reviews it.",
    "tools": "granted: the definitions of the tools that its grants name, as they were accepted.",
    "image": "The container image it runs, by its OCI digest; of several, each counts.",
    "program": "The program's file, by its SHA-256, as the Workload API has it from the kernel.",
    "commit": "The commit that it is built from, as tokens of GitHub Actions and GitLab tell.",
    "workflow": "The commit of the workflow's file, as tokens of GitHub Actions and GitLab tell.",
    "card": "Its A2A agent card, by the digest of the card's canonical form: charter adopt --card writes it.",
    "attested": "Parts without whose attestation it gets no tokens and no SVIDs; the others are declared.",
    "on_change": "What a change does to its standing until it is reviewed.",
    "accepted_by": "The human role that reviews changes; without it, the role that approved the charter.",
    "bearer": "allowed: its tokens may be used without showing the key they are bound to, which is otherwise refused.",
    "tokens": "How long its access tokens live at most; never more than 15 minutes.",
    "places": "Where the credential is used from: places of sharing.yaml, or networks; there, the networks of each.",
    "instances": "How many use the credential at a time; more at once become a finding.",
    "sharing": "What follows at once when the credential turns out to be shared: report, restrain or suspend.",
    "nodes": "Where remote nodes are, by the names they joined with: the networks of each.",
    "proved": "What follows when signatures or the kernel say that a credential is shared.",
    "stated": "What follows when a use contradicts what a charter, or this file, says of it.",
    "seen": "What follows when addresses alone speak for it.",
    "score": "From how many bits on; each bit is half as probable (docs/behaviour.md).",
    "features": "What a signal must be mostly about; without it, anything.",
    "then": "What follows: notify, approve, restrain, suspend or kill. Nothing here gives anything.",
    "release": "person: it lasts until somebody settles the finding.",
    "rotate": "How old a registered key, certificate or secret may become before another must take its place.",
    "grace": "How long after that it still counts; without it, until it is replaced, as a finding.",
    "spiffe_id": "The SPIFFE ID that proves it, of a trust domain that is federated with; else its own.",
    "certificate": "The name in its client certificate, which an authority named by --client-ca issued.",
    "client": "The https address of the document that the client describes itself with, which is its client_id.",
    "redirects": "Where a browser may take a person's answer; on loopback with any port.",
    "registration": "allowed: each installation may register itself, for these redirects, and be this principal.",
    "workloads": "The processes that are it: one that matches all selectors of one of these gets its SVID.",
    "trusts": "Other trust domains whose bundles its workloads are given: charter federation add.",
    "node": "The machine, by the name it joined with; without it, the one that Charter runs on.",
    "uid": "The user that the process runs as, by number.",
    "gid": "Its primary group, by number.",
    "path": "The program's file, whole.",
    "sha256": "The digest of the program's file.",
    "unit": "The systemd unit of the process, or else of its parent.",
    "grants": "What it may do, one system at a time. What is not granted is denied.",
    "delegation": "What authority others may lend it.",
    "review": "How often a person must decide whether it keeps its authority.",
    "expires": "The last day on which it may act, UTC.",
    "objects": "Paths within the system; `*` matches any run of characters.",
    "delegated": "Only when acting for somebody: begun by whom, in which role, for what, how deep.",
    "chain": "The delegation under which the call is made; without it, the principal acts by itself.",
    "under": "Places within the system: each with all that is below it.",
    "groups": "Groups of objects that the system's file names; there, what belongs to each.",
    "limit": "How much: `per` minute, hour, day, week or month, or `within` any stretch of time.",
    "within": "Any stretch of time of this length, at most 31d; the limit holds in each.",
    "approval": "Calls for which people must say yes first: who, how many, and how long they have.",
    "sensitive": "Whether guardrails and reviews treat it with more care.",
    "effect": "What the action does to the world. write can be undone, irreversible cannot.",
    "pin": "The digest of the accepted tool definition; charter systems import writes it.",
    "amounts": "Arguments that are quantities: where the value and its unit stand in the call.",
    "exceptions": "Defaults of the organisation that this charter does not follow, each with its reason.",
    "external": "Whether others run it: what is sent there leaves the organisation.",
    "results": "Who could have written what the action answers, as a whole and by the names of fields.",
    "origin": "trusted: an authority on it; internal: nobody outside chooses it; untrusted: anybody wrote it.",
    "seen_as": "How logs of others name it, as in `cloudtrail:PutObject`: an effect told so is held against verdicts.",
    "carries": "Arguments that are text: only what they name counts. The others lead the call.",
    "asked_as": "Words by which people ask for the action, besides those of its name.",
    "flow": "Towards calls whose values nobody vouches for: ask people, deny, or observe.",
    "posture": "ask: people are asked. deny: it is denied. observe: it is told in evidence, and nothing else.",
    "questions": "How often people are asked in one session within an hour; after that it is denied.",
    "own": "Addresses that are the organisation's own, as in *@example.com.",
    "untrusted": "Whether its answers hold what strangers wrote: mail, tickets, web pages.",
    "level": "How much harm the class does in wrong hands; one that no file describes counts as confidential.",
    "providers": "Whose models; without it, any.",
    "for": "For whom: all that is written must fit; without anything, everyone.",
    "force": "hard: never otherwise. ceiling: at most. default: unless a charter's `exceptions` name the rule.",
    "at_most": "Bounds on what a charter may say of itself.",
    "bounded": "What no charter may leave open: which model, and the objects of grants that change state.",
    "answers": "Items of catalogues that it answers: OWASP, NIST.",
    "holidays": "A country, or a part of one, whose public holidays are no working days: DE, DE-BE.",
    "changes": "Whether what widens authority is applied only once the right person has said yes.",
    "central": "The role that says yes to what concerns everybody: teams, rules, guardrails, patterns, systems.",
    "team_up_to": "Up to this tier of risk, the owner's team says yes to what stays within a pattern.",
    "duties": "What must not come together in one hand, nor in the hands of principals that act as one.",
    "parts": "What is kept apart: whoever may do all of it by itself breaks the duty.",
    "tied": "What makes two principals act as one: the same owner, the same team, a delegation between them.",
    "freezes": "Times when calls of some effects are held.",
    "tiers": "Tiers of risk; charter show tells how a principal's came about.",
    "issuer": "Whose tokens prove it: a name in issuers.yaml; there, the address its tokens say in iss.",
    "claims": "What such a token must say, exactly: a value each, no patterns.",
    "platform": "What signs the tokens; it decides which claims must be named.",
    "audience": "What the tokens must be made out to; without it, this server.",
    "keys_url": "Where its keys are, if not where OIDC discovery says.",
    "max_age": "The longest life of a token that is accepted; an hour where nothing is said.",
    "access": "Whose people may use the console: groups of the directory or the sign-in provider, by name.",
    "viewer": "Groups that may look at everything.",
    "operator": "Groups that may besides change standing and answer findings.",
    "admin": "Groups that may besides apply estates, rotate keys and let directories provision.",
    "enforcement": "Those who stand before it themselves, ask what is allowed, and carry the answer out.",
    "points": "Principals that may ask what others may do on this system.",
    "vouching": "allowed: a point's word proves a subject; without, the subject's own access token must come along.",
    "subjects": "What points call principals, and what is known of some of them on this system.",
    "resources": "Types of resources as points name them, each with the object's path that its ids stand for.",
    "known": "Properties that count where the question does not say them; what is known can be found by a search.",
    "context": "Members of a question's context that policies may read, as context.NAME; the others change nothing.",
    "obligations": "What a point must do besides, when actions are allowed or denied.",
    "egress": "What holds for every connection outside.",
    "plain": "Ports where a tunnel may hold something else than TLS for the host.",
    "private": "Private networks that may be reached; without, only addresses that everyone reaches.",
    "seconds": "How long one connection may last.",
    "megabytes": "How much may go through one connection, both ways together.",
    "proxy": "A proxy that asks about each request, which brings the caller's own access token (nginx, Envoy).",
    "base": "The address that callers know, up to the host.",
    "routes": "Which requests are which actions; a request that is none of them is denied.",
    "request": "A method and a path: GET /records/{record_id}. What stands in braces becomes an argument.",
    "query": "Parameters of the query that a request may have; each becomes an argument.",
    "roles": "Who holds each human role. Approvals are given in a role.",
    "because": "Text that must occur in the reasons.",
    "rule": "The id of the rule that must have decided.",
    "mend": "Text that must occur in what would make it allowed.",
    "link": "Whose authority lacked, or held, the right: a principal's name, or a person's address.",
    "approvers": "Of a call that waits: the roles that must say yes, one twice for two people.",
    "limits": "Of a call that is allowed: what it is counted against, in the words of charter why.",
    "through": "The principals between who began the chain and who calls, in their order.",
    "properties": "What must hold of all calls, whatever charters say.",
    "never": "No call of this class is allowed.",
    "may": "The calls that nobody else may make.",
    "always": "Every call of this class is allowed; with approved_by, none is without those roles' yes.",
    "approved_by": "Roles whose yes every allowed call of the class has.",
    "unapproved": "true: calls that nobody said yes to.",
    "not": "And that fit nothing of this.",
    "why": "What it is for, for whoever reads a failure.",
    "at": "When the call is made: date, time and zone.",
}

_OF_SYSTEMS = {
    "sensitive": "Whether the system is sensitive.",
    "untrusted": "Whether its answers hold what strangers wrote.",
}
# The same word within another thing means something else.
_TOLD_OF: dict[str, dict[str, str]] = {
    "ArgumentCondition": {
        "max": "At most this much, with its unit. It bounds one side: what is below zero is at most this too.",
        "min": "At least this much.",
        "over": "More than this.",
        "under": "Less than this.",
        "equals": "Exactly this text, whole number, true or false.",
        "one_of": "One of these.",
        "like": "A text like this; `*` matches any run of characters.",
        "max_length": "A text of at most so many characters.",
        "max_items": "A list of at most so many entries.",
        "each_of": "A list each of whose entries is one of these; an empty list has none that is not.",
        "each_like": "A list each of whose entries is like this; an empty list has none that is not.",
    },
    "ApprovalRule": {
        "when": "Only for calls whose arguments are so; without it, for each call of the grant.",
        "by": "The human role whose yes it needs, as in teams.yaml.",
        "count": "How many people of that role must say yes, each another; without it, one.",
        "within": "How long they have to answer, at most a week; without it, a day.",
    },
    "Limit": {
        "count": "How many calls at most.",
        "sum": "The amount that is added up over the calls; with `max`.",
        "max": "How much of it in all.",
        "per": "Within each of these, beginning by the clock of `zone`.",
        "zone": "Where days, weeks and months begin; without it, UTC.",
    },
    "Delegated": {
        "by": "Who began it: `humans`, or principals by name.",
        "roles": "The person who began it holds one of these human roles.",
        "purposes": "It was lent for one of these.",
        "max_depth": "So many delegations at most in the whole chain.",
    },
    "DelegationTerms": {
        "from": "Who may lend it authority: `humans`, or principals by name.",
        "to": "Whom it may lend authority to.",
        "purposes": "For what; without it, for whatever the other side's charter names.",
        "max_ttl": "How long a delegation lives at most.",
        "max_depth": "How many delegations in a row at most.",
        "ceiling": "The most that people lend it, where teams.yaml has no entitlements.",
    },
    "RuleException": {
        "rule": "The id of the default that is set aside.",
        "reason": "Why; everyone who looks at the rule reads it.",
        "until": "The last day on which it is; without it, as long as the charter holds.",
    },
    "AtMost": {
        "review": "How long until a person must look at it again.",
        "expires": "How long after its approval it may hold.",
        "ttl": "How long what is lent may live.",
        "depth": "How many delegations in a row.",
        "effect": "The strongest effect of the actions that it is granted: read, write, irreversible.",
    },
    "Only": {
        "approved_by": "The roles in which it may have been approved.",
        "credentials": "The ways in which it may prove itself.",
        "providers": "Whose models it may be run by.",
        "data": "The classes of data that it may touch; an empty list: none.",
        "systems": "The systems that it may reach.",
    },
    "Freeze": {"approval": "The human role whose yes lets one call by; without it, nobody's does."},
    "HttpUpstream": {"credential": "How Charter proves itself to the upstream; no principal ever sees it."},
    "AmountOf": {"unit": "The argument that says the unit."},
    "TrialCase": {
        "arguments": "What the call is made with.",
        "flow": "What the call's session has read, and where its values are from.",
    },
    "TrialChain": {"purpose": "What was lent for.", "roles": "The human roles that the person who began it holds."},
    "TrialFlow": {
        "data": "Classes of data that the session has read.",
        "known": "Whether it is known what the person asked for.",
        "untrusted": "Arguments whose values only strangers named.",
        "pointed": "Arguments whose values stand alone in what the person's request names.",
    },
    "CallClass": {
        "data": "Calls that touch one of these classes of data.",
        "delegated": "Calls that are made for somebody: begun by whom, in which role, for what, how deep.",
    },
    "system.json": {
        "owner": "The person and team who answer for it.",
        "data": "The classes of data that its actions touch, where they say nothing of their own.",
        "groups": "Sets of objects by name, for grants: patterns, places, other groups.",
    },
    "Action": {
        "data": "The classes of data that it touches; without it, the system's.",
        "external": "Whether what it is given leaves the organisation, as to any address; without it, the system's.",
    },
    "ObjectGroup": {"groups": "Other groups that belong to it."},
    "Property": {"only": "The principals that alone may make the calls under `may`."},
    "CharterRule": {"only": "Words of which a charter may use no others."},
    "Purpose": {"only": "The calls that belong to it; under it, no others are made."},
    "purposes.json": {"purposes": "What authority is lent for: what belongs to each."},
    "flow.json": {"pointed": "Whether a value that stands alone in what a person's request names may lead a call."},
    "ResponseRule": {"expires": "When it ends by itself."},
    "ObligationRule": {"properties": "What the point is told with it."},
    "Where": _OF_SYSTEMS,
    "WhereFits": _OF_SYSTEMS,
    "teams.json": {"roles": "Who holds each human role. Approvals are given in a role."},
}


def json_schemas() -> dict[str, dict[str, Any]]:
    """Return the schemas by file name, as `charter init` writes them into `.schema/`."""
    return {name: _schema(name, model) for name, model in _FILES.items()}


def _schema(name: str, model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(by_alias=True, mode="validation")
    defs: dict[str, Any] = schema.setdefault("$defs", {})
    if "When" in defs:
        defs["Days"] = {}
    for written, form in _WRITTEN.items():
        if written in defs:
            defs[written] = form
    _explain(name, schema)
    for each, definition in defs.items():
        _explain(each, definition)
    return {"$schema": DIALECT, "$id": f"https://charter.invalid/schema/v1/{name}"} | schema


def _explain(called: str, definition: dict[str, Any]) -> None:
    """Add what editors show beside a field, and drop what pydantic says only to itself."""
    told = _TOLD | _TOLD_OF.get(called, {})
    definition.pop("title", None)
    for name, field in definition.get("properties", {}).items():
        field.pop("title", None)
        if field.get("default", ...) is None or str(field.get("default")).startswith("PT"):
            del field["default"]  # nothing, or a duration as ISO 8601 has it, which nobody writes here
        if name in told:
            field["description"] = told[name]
        example = EXAMPLES.get(name, "").partition(": ")[2]
        is_written_so = example and not example.startswith(("{", "[")) and name != "by"  # a person here, a role there
        if is_written_so and "$ref" not in field:
            field.setdefault("examples", [example])
