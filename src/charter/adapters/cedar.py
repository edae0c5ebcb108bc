"""Cedar by cedarpy: parses, validates, binds and evaluates.

What the binding does that its callers must not have to know:

* Text loses policies' ids (`policy0`, whatever `@id` says), so sets are bound from Cedar's JSON form under ours.
* An evaluation error makes Cedar skip the policy, be it a `forbid`; the errors are handed on, and decide.py denies.
* A set or request that it cannot read is a third decision, NoDecision; it is handed on as no decision at all.
* Its parser's stack is not bounded, so texts must be bounded before they come here (policy/statement.py); grants are
  written shallowly (policy/cedar_text.py).

Requests are not validated again when they are put: the question is made in the schema's words by policy/vocabulary.py,
and a policy that was validated strictly cannot err on it; if it does, that is an error, and denies.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

import cedarpy
import msgspec

from charter.core.errors import ErrorCode, IntegrityError
from charter.policy.cedar_text import decimal_digits, moment_digits
from charter.policy.cedar_value import Record
from charter.policy.decide import Answer
from charter.policy.engine import Json, PolicyTextError
from charter.policy.vocabulary import Question

_TOO_DEEP = "it nests too deeply"
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class _Bound:
    """A policy set and the actions it can be asked about, parsed once."""

    policies: cedarpy.PolicySet
    actions: cedarpy.Entities


class CedarEngine:
    """Parses, validates, binds and evaluates with cedarpy. Holds nothing but a cache of schemas; safe in any thread."""

    def parse(self, text: str) -> list[Json]:
        """Return the policies of `text`, in order, as Cedar's JSON."""
        try:
            parsed = json.loads(cedarpy.policies_to_json_str(text))
        except ValueError as err:
            raise PolicyTextError(str(err)) from err
        except RecursionError as err:
            raise PolicyTextError(_TOO_DEEP) from err
        if parsed["templates"]:
            raise PolicyTextError("it is a template")
        policies = parsed["staticPolicies"]
        return [policies[f"policy{index}"] for index in range(len(policies))]

    def faults(self, text: str, schema: str) -> list[tuple[int, str]]:
        """Return what strict validation says: (index of the policy, what)."""
        result = cedarpy.validate_policies(text, _schema(schema))
        if result.validation_passed:
            return []
        found = [(_index(each.policy_id), each.error) for each in result.errors]
        return found or [(0, "it does not validate")]

    def bind(self, policies: Mapping[str, Json], groups: Mapping[str, str]) -> object:
        """Return the set under our ids, with its actions."""
        document = {"templates": {}, "staticPolicies": dict(policies), "templateLinks": []}
        try:
            bound = cedarpy.PolicySet.from_json_str(_encode(document).decode())
            actions = _actions(groups)
        except (ValueError, RecursionError) as err:
            raise PolicyTextError(f"Cedar cannot bind the policies: {err}") from err
        if len(bound) != len(policies):
            raise PolicyTextError("Cedar bound another number of policies than it was given")
        return _Bound(bound, actions)

    def evaluate(self, program: object, question: Question, approvals: frozenset[str]) -> Answer:
        """Return what the bound set says of the question."""
        if not isinstance(program, _Bound):
            raise IntegrityError(ErrorCode.BAD_REQUEST, "these policies were bound by another engine")
        name = question.principal["name"]
        try:
            request = {
                "principal": {"type": "Charter::Principal", "id": name},
                "action": {"type": "Charter::Action", "id": question.action},
                "resource": {"type": "Charter::Object", "id": question.object},
                "context": _encode(_context(question, approvals)).decode(),
            }
            asked = _encode([_principal(question), _object(question)]).decode()
            result = cedarpy.is_authorized(request, program.policies, program.actions.with_added_json_str(asked))
        except ValueError as err:
            return Answer(None, (), (str(err),))
        errors = tuple(said.replace("policy `/", f"policy `{name}/") for said in result.diagnostics.errors)
        rules = tuple(sorted(name + rule if rule.startswith("/") else rule for rule in result.diagnostics.reasons))
        match result.decision:
            case cedarpy.Decision.Allow:
                return Answer(True, rules, errors)  # noqa: FBT003 - the decision
            case cedarpy.Decision.Deny:
                return Answer(False, rules, errors)  # noqa: FBT003
            case _:
                return Answer(None, (), errors or ("Cedar made no decision",))


@lru_cache(maxsize=64)
def _schema(text: str) -> cedarpy.Schema:
    return cedarpy.Schema.from_str(text)


def _index(policy_id: str) -> int:
    digits = policy_id.removeprefix("policy")
    return int(digits) if digits.isdigit() else 0


def _actions(groups: Mapping[str, str]) -> cedarpy.Entities:
    known = [
        {
            "uid": {"type": "Charter::Action", "id": action},
            "attrs": {},
            "parents": [{"type": "Charter::Action", "id": group}],
        }
        for action, group in groups.items()
    ]
    return cedarpy.Entities.from_json_str(_encode(known).decode())


def _principal(question: Question) -> Json:
    uid = {"type": "Charter::Principal", "id": question.principal["name"]}
    return {"uid": uid, "attrs": _plain(question.principal), "parents": []}


def _plain(record: Record) -> Json:
    """Return a record as JSON, its sets of texts as lists in order."""
    return {name: sorted(value) if type(value) is frozenset else value for name, value in record.items()}


def _object(question: Question) -> Json:
    return {
        "uid": {"type": "Charter::Object", "id": question.object},
        "attrs": _plain(question.resource),
        "parents": [{"type": "Charter::System", "id": question.system}],
    }


def _context(question: Question, approvals: frozenset[str]) -> Json:
    return {
        "now": {"__extn": {"fn": "datetime", "arg": moment_digits(question.now)}},
        "local": question.local,
        "arguments": {name: _argument(record) for name, record in question.given.items()},
        "approvals": sorted(approvals),
        "chain": _plain(question.chain),
        "flow": _plain(question.flow),
    }


def _argument(record: Record) -> Json:
    quantity = record.get("quantity")
    if quantity is None:
        return record
    digits = decimal_digits(Decimal(int(quantity["value"])).scaleb(-4))
    value = {"__extn": {"fn": "decimal", "arg": digits}}
    return record | {"quantity": {"value": value, "unit": quantity["unit"]}}
