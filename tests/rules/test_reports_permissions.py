"""Which permissions are in force, and since when without a break."""

from __future__ import annotations

import datetime as dt

from hypothesis import given, settings
from hypothesis import strategies as st

from charter.reports.permissions import AppliedVersion, in_force

SYSTEMS = {"payments": {"read": "read", "refund": "irreversible", "list": "read"}, "ledger": {"read": "read"}}


def day(number: int) -> dt.datetime:
    return dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(days=number)


def version(at: int, *actions: str, principal: str = "a", system: str = "payments") -> AppliedVersion:
    return AppliedVersion(principal, "team", "agent", day(at), ((system, actions),) if actions else ())


def held(*versions: AppliedVersion) -> list[tuple[str, str, str, int]]:
    found = in_force(versions, SYSTEMS)
    return [(p.principal, p.system, p.action, (p.granted - day(0)).days) for p in found]


def test_a_permission_runs_from_the_version_that_first_granted_it() -> None:
    assert held(version(1, "read"), version(5, "read", "refund")) == [
        ("a", "payments", "read", 1),
        ("a", "payments", "refund", 5),
    ]


def test_a_version_without_it_ends_a_permission_and_a_later_one_begins_it_anew() -> None:
    assert held(version(1, "read"), version(3), version(7, "read")) == [("a", "payments", "read", 7)]
    assert held(version(1, "read"), version(3)) == []


def test_a_star_means_the_actions_the_system_has() -> None:
    assert [action for _, _, action, _ in held(version(1, "*"))] == ["read", "refund", "list"]


def test_what_no_system_has_permits_nothing() -> None:
    assert held(version(1, "gone"), version(1, "read", principal="b", system="nowhere")) == []


def test_each_principal_is_by_itself() -> None:
    assert held(version(1, "read"), version(4, "read", principal="b")) == [
        ("a", "payments", "read", 1),
        ("b", "payments", "read", 4),
    ]


@settings(max_examples=60)
@given(st.lists(st.sets(st.sampled_from(["read", "refund", "list"])), min_size=1, max_size=8))
def test_what_is_in_force_is_what_the_last_version_grants_since_its_unbroken_run(history: list[set[str]]) -> None:
    versions = [version(n, *sorted(actions)) for n, actions in enumerate(history)]

    found = {action: since for _, _, action, since in held(*versions)}

    assert set(found) == history[-1]
    for action, since in found.items():
        assert all(action in actions for actions in history[since:])
        assert since == 0 or action not in history[since - 1]
