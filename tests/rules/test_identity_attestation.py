"""Selectors: what charters may ask of a process, and whom a process is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from charter.adapters.process import unit_in
from charter.core.errors import ConflictError
from charter.identity.attestation import Process, attest, candidates, needs_digest
from charter.registry.apart import Conditions, meetings
from charter.registry.issuer import are_disjoint
from charter.registry.manifest import parse_estate
from charter.registry.principal import LiveEstate
from charter.registry.problem import EstateError
from charter.registry.standing import Standing
from charter.registry.workload import Workload
from estates import PRINCIPAL, another_principal, estate_files
from identity_stage import a_principal
from workloads import workload_key

DIGEST = "a" * 64
AGENT = Process(7, 1001, 100, "/opt/agent", "refund-agent.service", DIGEST)


def live_with(*keys: Any) -> LiveEstate:
    live = LiveEstate()
    for key in keys:
        name = key.principal_id.removeprefix("prn_")
        live.principals[key.principal_id] = live.principals.get(key.principal_id, a_principal(name))
        live.ids[name] = key.principal_id
        live.put_key(key)
    return live


def whom(live: LiveEstate, process: Process = AGENT) -> str | None:
    found = attest(live, process)
    return found.principal_id if found else None


# --- matching ---


@pytest.mark.parametrize(
    "selectors",
    [
        {"uid": 1001},
        {"gid": 100},
        {"unit": "refund-agent.service"},
        {"uid": 1001, "path": "/opt/agent"},
        {"uid": 1001, "sha256": DIGEST},
        {"uid": 1001, "gid": 100, "path": "/opt/agent", "unit": "refund-agent.service", "sha256": DIGEST},
    ],
    ids=str,
)
def test_a_process_that_matches_every_selector_is_the_principal(selectors: dict[str, Any]) -> None:
    assert whom(live_with(workload_key("prn_refund-agent", **selectors))) == "prn_refund-agent"


@pytest.mark.parametrize(
    "selectors",
    [
        {"uid": 1002},
        {"uid": 0},
        {"gid": 1001},
        {"unit": "refund-agent.scope"},
        {"uid": 1001, "path": "/opt/agent2"},
        {"uid": 1001, "sha256": "b" * 64},
        {"uid": 1001, "unit": "other.service"},
        {"uid": 1001, "node": "berlin-1"},
    ],
    ids=str,
)
def test_one_selector_that_differs_is_enough_to_be_nobody(selectors: dict[str, Any]) -> None:
    assert whom(live_with(workload_key("prn_refund-agent", **selectors))) is None


def test_what_is_not_known_is_not_met() -> None:
    bare = Process(7, 1001, 100)
    for selectors in ({"path": "/opt/agent"}, {"unit": "refund-agent.service"}, {"sha256": DIGEST}):
        live = live_with(workload_key("prn_refund-agent", uid=1001, **selectors))
        assert whom(live, bare) is None


def test_a_revoked_entry_counts_no_more_and_another_of_the_charter_does() -> None:
    dead = workload_key("prn_refund-agent", standing=Standing.REVOKED, uid=1001)
    assert whom(live_with(dead)) is None
    assert whom(live_with(dead, workload_key("prn_refund-agent", gid=100))) == "prn_refund-agent"


def test_the_digest_is_asked_for_only_where_it_decides() -> None:
    live = live_with(workload_key("prn_a", uid=1001, sha256=DIGEST), workload_key("prn_b", uid=1002))
    unread = Process(7, 1001, 100)
    assert needs_digest(live, candidates(live, unread))
    assert not needs_digest(live, candidates(live, Process(8, 1002, 100)))
    assert not needs_digest(live, candidates(live, Process(9, 1003, 100)))


def test_a_process_that_is_two_principals_is_neither() -> None:
    live = live_with(workload_key("prn_a", uid=1001), workload_key("prn_b", gid=100))
    with pytest.raises(ConflictError, match="`a` and `b`"):
        attest(live, AGENT)


def test_a_principal_that_was_killed_does_not_stand_in_the_way_of_its_successor() -> None:
    live = live_with(workload_key("prn_old", uid=1001), workload_key("prn_new", uid=1001))
    live.principals["prn_old"] = a_principal("old", standing=Standing.REVOKED)
    assert whom(live) == "prn_new"
    live.principals["prn_new"] = a_principal("new", standing=Standing.RETIRED)
    assert whom(live) in ("prn_old", "prn_new")


selector_values: dict[str, st.SearchStrategy[Any]] = {
    "node": st.sampled_from(["a", "b"]),
    "uid": st.sampled_from([1, 2]),
    "gid": st.sampled_from([1, 2]),
    "path": st.sampled_from(["/a", "/b"]),
    "sha256": st.sampled_from(["a" * 64, "b" * 64]),
    "unit": st.sampled_from(["a.service", "b.service"]),
}
some_selectors = st.fixed_dictionaries({}, optional=selector_values).filter(lambda s: s.keys() & {"uid", "gid", "unit"})
processes = st.builds(
    Process, st.just(7), *(selector_values[n] for n in ("uid", "gid", "path", "unit", "sha256", "node"))
)


@given(st.lists(st.tuples(st.sampled_from("pqr"), some_selectors), min_size=2, max_size=6), processes)
def test_charters_that_are_apart_never_make_a_process_two(
    wanted: list[tuple[str, dict[str, Any]]], process: Process
) -> None:
    """What files are checked for is what attestation needs."""
    sets = [
        Conditions(holder, Workload.model_validate(each).conditions, index)
        for index, (holder, each) in enumerate(wanted)
    ]
    together = list(meetings(sets))
    pairs = [(one, other) for one in sets for other in sets if one.of < other.of and one.holder != other.holder]
    assert bool(together) == any(not are_disjoint(one.wanted, other.wanted) for one, other in pairs)
    if not together:
        live = live_with(*(workload_key(f"prn_{holder}", **each) for holder, each in wanted))
        expected = {each.holder for each in sets if all(process.facts.get(k) == v for k, v in each.wanted.items())}
        found = whom(live, process)
        assert expected == ({found.removeprefix("prn_")} if found else set())


# --- what may be written ---

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"path": "/usr/bin/python3"}, "whoever starts that program"),
    ({"sha256": DIGEST}, "whoever starts that program"),
    ({"node": "berlin-1"}, "whoever starts that program"),
    ({}, "whoever starts that program"),
    ({"uid": -1}, "greater than or equal to 0"),
    ({"uid": 2**32 - 1}, "less than or equal to"),
    ({"uid": "1001"}, "valid integer"),
    ({"uid": True}, "valid integer"),
    ({"uid": 1, "path": "opt/agent"}, "no program's path"),
    ({"uid": 1, "path": "/opt/../bin/sh"}, "no program's path"),
    ({"uid": 1, "path": "/opt//agent"}, "no program's path"),
    ({"uid": 1, "path": "/opt/agent/"}, "no program's path"),
    ({"uid": 1, "path": "/opt/agent\u202e"}, "no program's path"),
    ({"uid": 1, "sha256": DIGEST.upper()}, "no SHA-256"),
    ({"uid": 1, "sha256": "sha256:" + DIGEST}, "no SHA-256"),
    ({"unit": "refund-agent"}, "no unit"),
    ({"unit": "init.scope"}, "no unit"),
    ({"unit": "a/b.service"}, "no unit"),
    ({"unit": "user.slice"}, "no unit"),
    ({"uid": 1, "node": "Berlin"}, "the node"),
    ({"uid": 1, "user": "agent"}, "not permitted"),
]


@pytest.mark.parametrize(("selectors", "why"), REFUSED, ids=[str(s)[:40] for s, _ in REFUSED])
def test_selectors_that_would_let_others_in_are_refused(selectors: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Workload.model_validate(selectors)


def spiffe(workloads: str, text: str = PRINCIPAL) -> str:
    return text.replace("{type: private-key-jwt}", f"{{type: spiffe, workloads: {workloads}}}")


HELPER = another_principal("refund-helper")["principals/refund-helper.yaml"]


def problems_of(principal: str, **more: str | None) -> list[str]:
    with pytest.raises(EstateError) as caught:
        parse_estate(estate_files({"principals/refund-agent.yaml": principal} | more))
    return [str(problem) for problem in caught.value.problems]


def test_a_charter_says_which_processes_are_its_principal() -> None:
    files = estate_files({"principals/refund-agent.yaml": spiffe("[{uid: 1001, path: /opt/a}, {unit: a.service}]")})
    credential = parse_estate(files).charters["refund-agent"].value.credential
    assert credential.workloads is not None
    assert [each.conditions for each in credential.workloads] == [
        {"node": "", "uid": 1001, "path": "/opt/a"},
        {"node": "", "unit": "a.service"},
    ]


def test_the_problem_says_where_and_why() -> None:
    (problem,) = problems_of(spiffe("[{uid: 1001}, {path: /opt/a}]"))
    assert "principals/refund-agent.yaml" in problem
    assert "lets in whoever starts that program" in problem


def test_two_charters_that_one_process_could_match_are_refused() -> None:
    other = spiffe("[{uid: 7}, {gid: 100}]", HELPER)
    (problem,) = problems_of(spiffe("[{uid: 1001}]"), **{"principals/refund-helper.yaml": other})
    assert "one process could be both `refund-" in problem
    files = {"principals/refund-helper.yaml": spiffe("[{uid: 1002, gid: 100}]", HELPER)}
    parse_estate(estate_files({"principals/refund-agent.yaml": spiffe("[{uid: 1001}]")} | files))


def test_workloads_belong_to_spiffe_alone() -> None:
    text = PRINCIPAL.replace("{type: private-key-jwt}", "{type: private-key-jwt, workloads: [{uid: 1}]}")
    (problem,) = problems_of(text)
    assert "`workloads` belongs to a credential of the type spiffe" in problem


def test_a_spiffe_principal_without_workloads_is_worth_a_warning() -> None:
    text = PRINCIPAL.replace("{type: private-key-jwt}", "{type: spiffe}")
    warnings = [str(each) for each in parse_estate(estate_files({"principals/refund-agent.yaml": text})).warnings]
    assert any("names no workloads" in each for each in warnings)


# --- units ---


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/system.slice/refund-agent.service", "refund-agent.service"),
        ("/system.slice/system-agent.slice/agent@7.service", "agent@7.service"),
        ("/system.slice/docker.service/refund-agent.service", "docker.service"),
        ("/machine.slice/vm.scope/x", "vm.scope"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/refund-agent.service", None),
        ("/user.slice/user-1000.slice/session-3.scope", None),
        ("/../../system.slice/refund-agent.service", None),
        ("/kubepods/refund-agent.service", None),
        ("/init.scope", "init.scope"),
        ("/", None),
        ("", None),
        ("refund-agent.service", None),
    ],
)
def test_a_unit_is_what_the_systems_manager_made(path: str, unit: str | None) -> None:
    assert unit_in(path) == unit
