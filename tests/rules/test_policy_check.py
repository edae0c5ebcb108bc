"""What a check of an estate binds: charters of the same authority once, and each of those that do not bind."""

from __future__ import annotations

from collections.abc import Mapping

from typing_extensions import override

from charter.adapters.cedar import CedarEngine
from charter.policy.check import BoundBefore, check_estate
from charter.policy.engine import Json
from charter.registry.manifest import parse_estate
from estates import another_principal, estate_files

NAMES = tuple(f"alike-{n}" for n in range(5))
NAMED = '@id("one") forbid (principal == Charter::Principal::"alike-3", action, resource);\n'


FIRST_GRANT = 4  # of a slice's policies: three are built in, and there is one guardrail


class CountingEngine(CedarEngine):
    """Cedar, with a count of what was bound, and a text that it refuses."""

    def __init__(self, refused: str = "never refused") -> None:
        self.bound = 0
        self.refused = refused

    @override
    def bind(self, policies: Mapping[str, Json], groups: Mapping[str, str]) -> object:
        self.bound += 1
        return super().bind(policies, groups)

    @override
    def faults(self, text: str, schema: str) -> list[tuple[int, str]]:
        return [(FIRST_GRANT, "it is refused")] if self.refused in text else super().faults(text, schema)


def files(*names: str, amount: str = "200 EUR", **more: str) -> dict[str, str]:
    changed: dict[str, str | None] = {"tests/refunds.yaml": None}
    for name in names:
        text = another_principal(name)[f"principals/{name}.yaml"]
        changed[f"principals/{name}.yaml"] = text.replace("200 EUR", amount)
    return estate_files(changed | more)


def bound(files: dict[str, str], before: BoundBefore | None = None) -> int:
    engine = CountingEngine()
    assert check_estate(parse_estate(files), engine, before) == ()
    return engine.bound


def test_charters_that_are_alike_are_bound_once() -> None:
    assert bound(files(*NAMES)) == bound(files()) == 1
    assert bound(files(*NAMES, amount="100 EUR")) == 2  # and the one that differs


def test_one_that_a_guardrail_names_is_bound_by_itself() -> None:
    assert bound(files(*NAMES, **{"guardrails/named.cedar": NAMED})) == 2


def test_what_was_bound_before_is_not_bound_again_though_what_is_like_it_is_new() -> None:
    before = BoundBefore()
    assert bound(files(*NAMES[:2]), before) == 1
    assert bound(files(*NAMES[:2]), before) == 0


def test_each_of_those_that_do_not_bind_is_told_at_its_own_place() -> None:
    estate = parse_estate(files(*NAMES[:2], amount="123 EUR"))
    problems = check_estate(estate, CountingEngine("123"))
    assert {each.path for each in problems} == {f"principals/{name}.yaml" for name in NAMES[:2]}
