"""What a person may do, as a slice of its own: bound from the grants of their teams and roles, or from a ceiling.

People are of no environment, hold no data classes of a charter and are never restrained, so the built-in rules say
nothing of them; guardrails rule on principals, and are asked of the principals that act for them.

INVARIANT: a person's slice allows nothing but what one of their grants does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from charter.core.canonical import digest_of
from charter.policy.engine import Engine
from charter.policy.grant import Sources, compile_for
from charter.policy.slice import (
    Authority,
    Slice,
    calendars_json,
    check_faults,
    groups_of,
    parsed_grants,
    policy_text,
    words_of,
)
from charter.policy.vocabulary import action_id, schema_text
from charter.registry.central import Central
from charter.registry.charter import Environment, Grant
from charter.registry.data_class import DataFlow
from charter.registry.flow import Posture
from charter.registry.risk import Risk
from charter.registry.system import System

PERSON = "person"
_NOWHERE = Environment.PRODUCTION  # a slice has one; no policy of a person's reads it


def bind_person(
    person: str,
    grants: Sequence[Grant],
    sources: Sources,
    systems: Mapping[str, System],
    engine: Engine,
    central: Central,
) -> Slice:
    """Return the slice of a person who may do what `grants` say. Grants on systems that are not there say nothing.

    Raises:
        EstateError: a grant does not validate.
        PolicyTextError: Cedar cannot bind them.
    """
    known = [grant for grant in grants if grant.system in systems]
    rules = compile_for(person, known, sources, systems)
    granted = groups_of((action_id(rule.system, action) for rule in rules for action in rule.actions), systems)
    words = words_of(rules, (), central)
    schema, text = schema_text(granted, words.zones, words.arguments), policy_text(rules, (), built_in=())
    policies = parsed_grants(engine, rules)
    if rules:
        check_faults(engine.faults(text, schema), list(policies), rules, {})
    told = {"kind": PERSON, "environment": _NOWHERE.value, "data": frozenset[str](), "posture": Posture.OBSERVE.value}
    authority = Authority(
        party=person,
        kind=PERSON,
        environment=_NOWHERE,
        risk=Risk(()),
        data=(),
        flow=DataFlow(),
        grants=rules,
        guardrails={},
        granted=frozenset(granted),
        words=replace(words, principal=told),
        schema=schema,
        digest=digest_of({"policies": text, "schema": schema, "calendars": calendars_json(words)}),
        program=engine.bind(policies, granted),
    )
    return Slice(person, "", f"person:{person}", authority, sources)
