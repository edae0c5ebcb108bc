"""A draft charter asks for exactly what only a person can say, whatever the finding holds."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from builders import a_system
from charter.core.canonical import canonical
from charter.core.errors import MalformedError
from charter.discovery.adopt import draft_charter, system_of
from charter.discovery.findings import ScanFinding, finding_from
from charter.discovery.sighting import Confidence, FindingKind, Server
from charter.registry.charter import Charter, Kind
from charter.registry.document import read_document
from charter.registry.fault import problems_in
from charter.registry.system import System
from charter.registry.team import Teams

AT = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
TEAMS = Teams.model_validate(
    {"charter": "v1", "teams": {"payments-ops": {"lead": "maria@example.com"}}, "roles": {"payments-risk": []}}
)
PERSONS_PART = {"environment", "owner", "purpose", "approved", "expires"}


def a_finding(**changed: object) -> ScanFinding:
    given: dict[str, object] = {
        "id": "0123456789ab",
        "fingerprint": "sha256:" + "01" * 32,
        "kind": FindingKind.APPLICATION,
        "suggests": Kind.AGENT,
        "title": "services/disputes uses langgraph (gpt-4o-mini)",
        "where": "services/disputes/src/graph.py:3",
        "confidence": Confidence.DECLARED,
        "evidence": "an import",
        "risk": "nobody is registered as answering for it",
        "proposes": "disputes",
        "path": "services/disputes",
        "setting": "code",
        "origin": "example.com/acme/disputes",
        "providers": ("openai",),
        "models": ("gpt-4o-mini",),
    }
    return ScanFinding(**(given | changed))  # type: ignore[arg-type]  # built from a table


def missing_in(text: str, name: str = "disputes") -> set[str]:
    """Return the fields that validation of the draft asks for, and fail on any other problem."""
    document = read_document(text.encode(), f"principals/{name}.yaml")
    with pytest.raises(ValidationError) as caught:
        Charter.model_validate(document.value)
    problems = problems_in(caught.value, document, Charter)
    assert all(problem.text.endswith("is missing") for problem in problems), problems
    return {problem.text.split("`")[1] for problem in problems}


def test_a_draft_lacks_exactly_what_only_a_person_can_say() -> None:
    name, text = draft_charter(a_finding(), teams=TEAMS, systems={}, at=AT)

    assert name == "disputes"
    assert missing_in(text) == PERSONS_PART
    assert {line.split(": ")[1] for line in text.splitlines() if line.startswith("# MISSING: ")} == PERSONS_PART


def test_a_draft_names_the_teams_roles_and_the_latest_day() -> None:
    _, text = draft_charter(a_finding(), teams=TEAMS, systems={}, at=AT)

    assert "one of payments-ops" in text
    assert "one of payments-risk" in text
    assert "at most 2027-11-24" in text


def test_a_finding_of_no_certain_provider_leaves_the_model_to_a_person() -> None:
    _, text = draft_charter(a_finding(providers=()), teams=TEAMS, systems={})

    assert missing_in(text) == PERSONS_PART | {"model"}
    assert "(seen: gpt-4o-mini)" in text


def test_only_reading_is_proposed_and_only_on_known_systems() -> None:
    servers = (Server("payments", "http", url="https://mcp.example.com"), Server("mail", "stdio", command="mail-mcp"))

    _, text = draft_charter(a_finding(servers=servers), teams=TEAMS, systems={"payments": a_system()}, at=AT)

    value = read_document(text.encode(), "principals/disputes.yaml").value
    assert value["grants"] == [{"system": "payments", "actions": ["charge.read"]}]
    assert value["data"] == ["customer-pii"]
    assert "# MISSING: a system for the MCP server mail (mail-mcp):" in text
    assert missing_in(text) == PERSONS_PART


def test_a_draft_that_a_person_completes_is_a_charter() -> None:
    servers = (Server("payments", "http", url="https://mcp.example.com"),)
    _, text = draft_charter(a_finding(servers=servers), teams=TEAMS, systems={"payments": a_system()}, at=AT)

    said = """
environment: production
owner: {person: maria@example.com, team: payments-ops}
purpose: Sort disputes
approved: {by: alex@example.com, role: payments-risk, on: 2026-11-24}
expires: 2027-11-02
"""
    charter = Charter.model_validate(read_document((text + said).encode(), "principals/disputes.yaml").value)

    assert charter.principal == "disputes"
    assert charter.systems == ("payments",)


@pytest.mark.parametrize(
    ("server", "known"),
    [
        (Server("payments", "stdio", command="x"), True),
        (Server("other", "http", url="http://127.0.0.1:9/mcp?key=***"), True),
        (Server("other", "http", url="http://127.0.0.1:9/else"), False),
        (Server("other", "stdio", command="unrelated"), False),
    ],
)
def test_a_server_is_a_known_system_by_name_or_address(server: Server, known: bool) -> None:
    assert system_of(server, {"payments": a_system()}) == ("payments" if known else None)


@pytest.mark.parametrize(
    ("command", "known"),
    [
        ("uvx mcp-server-git --repository .", True),
        ("/opt/bin/uvx mcp-server-git --repository .", True),
        ("mcp-server-git --repository .", True),
        ("uvx mcp-server-time", False),
        (".", False),
    ],
)
def test_a_server_is_a_known_system_by_its_command(command: str, known: bool) -> None:
    upstream = {"transport": "stdio", "command": ["uvx", "mcp-server-git", "--repository", "."]}
    systems: dict[str, System] = {"git": a_system(system="git", upstream=upstream)}

    assert system_of(Server("tools", "stdio", command=command), systems) == ("git" if known else None)


NASTY = st.text(
    st.one_of(st.sampled_from("\n\r\x85\u2028\u2029\u202e\ufeff\x00\x1b:#{}[]'\"|>&*!%@`\\- \t"), st.characters()),
    max_size=60,
)


@settings(max_examples=150)
@example(a_finding(models=("0" * 20 + "\x1b" * 6 + "\U0001342f" * 9,)))  # each escape is longer than what it shows
@given(
    st.builds(
        a_finding,
        id=NASTY,
        title=NASTY,
        where=NASTY,
        evidence=NASTY,
        risk=NASTY,
        proposes=NASTY,
        models=st.tuples(NASTY, NASTY),
        providers=st.lists(st.one_of(st.just("openai"), NASTY), max_size=3).map(tuple),
        reaches=st.tuples(NASTY),
        servers=st.lists(st.builds(Server, NASTY, NASTY, NASTY, NASTY), max_size=3).map(tuple),
    )
)
def test_no_finding_however_hostile_makes_a_draft_say_something_else(finding: ScanFinding) -> None:
    name, text = draft_charter(finding, teams=TEAMS, systems={"payments": a_system()}, at=AT)

    assert missing_in(text, name) - {"model"} == PERSONS_PART
    value = read_document(text.encode(), "principals/x.yaml").value
    assert set(value) <= {"charter", "principal", "kind", "model", "credential", "grants", "review", "data"}
    assert value["principal"] == name


def test_a_finding_survives_its_json() -> None:
    finding = a_finding(servers=(Server("git", "stdio", command="uvx mcp-server-git", env=("TOKEN",)),))

    body = finding.to_json()

    assert finding_from(body) == finding
    assert canonical(body)


def test_a_finding_of_another_shape_is_refused() -> None:
    with pytest.raises(MalformedError, match="no finding of a scan"):
        finding_from({"id": 3})


@pytest.mark.parametrize(
    ("providers", "models", "told"),
    [
        (("anthropic", "openai"), ("gpt-4.1", "claude-3-7-sonnet-latest"), '{provider: openai, name: "gpt-4.1"}'),
        (("aws-bedrock",), ("claude-3-7-sonnet-latest",), '{provider: aws-bedrock, name: "claude-3-7-sonnet-latest"}'),
        (("openai",), (), '{provider: openai, name: "*"}'),
    ],
    ids=["the maker's own", "a cloud serves it", "none was named"],
)
def test_a_draft_names_a_model_beside_the_provider_that_has_it(
    providers: tuple[str, ...], models: tuple[str, ...], told: str
) -> None:
    _, text = draft_charter(a_finding(providers=providers, models=models), teams=TEAMS, systems={})
    assert f"model: {told}\n" in text
