"""No way to get something stands apart from the walk of `test_standing_paths.py`: what there is, is found in the code.

Found are: every endpoint of OAuth and every grant type, every MCP method, every change at the control API and the
console, every method of the Workload API, every kind of evidence, and every function that puts the one question. Each
is walked by a path of `ways_in.py`, or by a test named here, or gives nothing away, and says why. Whoever
adds one and says nothing of it fails here.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from charter.bootstrap.desk import HouseDesk
from charter.bootstrap.house import House
from charter.console.pages import console_app
from charter.evidence.entry import EntryKind
from charter.gateway.access_profiles import Profile
from charter.identity import authority as question
from charter.identity.resource import DECISION_PATH
from charter.registry.standing import Refusal
from charter.server.access import AccessApp
from charter.server.control import control_app
from charter.server.gateway import GatewayApp
from charter.server.oauth import OAuthApp
from charter.server.workload import SERVICE, WorkloadVisit
from fuzz_stage import SOURCE
from fuzz_stage import a_world as a_fuzz_world
from ways_in import PATHS, a_world, gives

HERE = Path(__file__).parent
DELEGATED = "test_delegated_standing_paths.py::test_no_path_gives_anything_once_a_link_is_withdrawn"
CHAINS = "test_delegation_chains.py::test_nothing_is_exchanged_or_called_after_any_link_is_killed"
CONSENT = "test_consent_standing.py::test_no_way_gives_anything_once_one_side_is_gone"
ASSERTED = "test_consent_standing.py::test_a_providers_word_gives_nothing_once_one_side_is_gone"
LEASES = "test_leases.py::test_whatever_ends_authority_ends_leases_too"
NO_LEASE = "test_leases.py::test_a_killed_agent_gets_no_lease_and_renews_none"
WORKLOAD = "../contracts/test_workload_api.py::test_a_withdrawn_principals_streams_end_at_once_and_it_gets_nothing_more"
DECISIONS = "test_access.py::test_nothing_is_allowed_once_a_subject_lost_what_it_stands_on"
POINTS = "test_access.py::test_a_point_whose_authority_was_withdrawn_is_not_answered"
REQUESTS = "../contracts/test_access_requests.py::test_approval_does_not_override_what_else_must_hold"
CARRIED = "../contracts/test_sdk_in_process.py::test_a_kill_ends_it_before_it_is_answered_and_a_resume_begins_it_again"
ROTATED = "test_key_rotation.py::test_nothing_is_given_by_a_rotation_to_a_principal_that_may_not_act"
QUESTIONS = {"refusal", "chain_refusal", "may_act"}  # the functions that put the one question
NO_SECRET = "test_oauth_secrets.py::test_no_secret_is_made_for_a_principal_that_can_do_better"

# What walks each way in: paths of ways_in.py, or tests by their file and name.
WALKED: dict[str, tuple[str, ...]] = {
    "oauth POST /oauth/token": ("token endpoint",),
    "oauth POST /oauth/introspect": ("introspection",),
    "oauth POST /oauth/rotate": ("key rotation",),
    "grant client_credentials": ("token endpoint",),
    "grant urn:ietf:params:oauth:grant-type:token-exchange": (DELEGATED, CHAINS),
    "grant authorization_code": (CONSENT,),
    "grant refresh_token": (CONSENT,),
    "grant urn:ietf:params:oauth:grant-type:device_code": (CONSENT,),
    "grant urn:ietf:params:oauth:grant-type:jwt-bearer": (ASSERTED,),
    "console POST /oauth/authorize": (CONSENT, CHAINS),
    "console POST /device": (CONSENT, CHAINS),
    "console POST /delegations/own": (CHAINS,),
    "control POST /v1/delegations": (CHAINS,),
    "control POST /v1/leases/{lease_id}/renew": (NO_LEASE,),
    "evidence lease.recorded": (NO_LEASE,),
    "evidence lease.issued": (LEASES, NO_LEASE),
    "evidence lease.renewed": (NO_LEASE,),
    "asks lifecycle/leases.py standing_of": (LEASES, NO_LEASE),
    "asks bootstrap/consents.py card": (CONSENT,),
    "access evaluation": (DECISIONS, POINTS),
    "access evaluations": (DECISIONS, POINTS),
    "access search/subject": (DECISIONS, POINTS),
    "access search/resource": (DECISIONS, POINTS),
    "access search/action": (DECISIONS, POINTS),
    "access requests": (REQUESTS,),
    "access decisions": (CARRIED,),
    "evidence question.searched": (DECISIONS, POINTS),
    "asks gateway/pipeline.py answer": (DECISIONS,),
    "mcp tools/call": ("gateway door", "decision", "approval spent"),
    "mcp tools/list": ("gateway door", "tools/list"),
    "mcp subscriptions/listen": ("gateway door", "new stream"),
    "control POST /v1/principals/{name}/keys": ("key registration",),
    "control POST /v1/principals/{name}/secret": ("secret",),
    "control POST /v1/principals/{name}/rotate/key": (ROTATED,),
    "control POST /v1/principals/{name}/rotate/secret": (ROTATED,),
    "control POST /v1/approvals/{approval_id}/approve": ("approval given",),
    "console POST /approvals/{approval_id}": ("approval given",),
    "console POST /approve/{token}": ("approval given",),
    "workload FetchX509SVID": (WORKLOAD,),
    "workload FetchJWTSVID": (WORKLOAD,),
    "workload FetchX509Bundles": (WORKLOAD,),
    "workload FetchJWTBundles": (WORKLOAD,),
    "workload ValidateJWTSVID": (WORKLOAD,),
    "evidence authentication": ("token endpoint",),
    "evidence verdict": ("decision",),
    "evidence outcome": ("decision",),
    "evidence approval.asked": ("decision",),
    "evidence approval.given": ("approval given",),
    "evidence approval.spent": ("approval spent",),
    "evidence credential.registered": ("key registration",),
    "evidence credential.rotated": ("key rotation",),
    "evidence svid.issued": (WORKLOAD,),
    "evidence delegation.made": (DELEGATED, CHAINS),
    "evidence delegation.accepted": (DELEGATED, CHAINS),
    "asks gateway/facts.py resolve": ("decision",),
    "asks gateway/pipeline.py authenticate": ("gateway door",),
    "asks gateway/visible.py visible_tools": ("tools/list",),
    "asks gateway/look.py _look": ("new stream",),
    "asks identity/credential.py register_key": ("key registration",),
    "asks identity/issuance.py _refusal_of": ("token endpoint",),
    "asks identity/issuance.py _bad_system": ("token endpoint",),
    "asks identity/revocation.py introspect": ("introspection",),
    "asks identity/secret.py keep_secret": ("secret",),
    "asks server/oauth_rotation.py _unfit": ("key rotation",),
    "asks lifecycle/approvals.py approve": ("approval given",),
    "asks lifecycle/approvals.py _check_chain": (DELEGATED,),
    "asks identity/delegation.py lend": (CHAINS,),
    "asks identity/delegation.py check_chain": (DELEGATED, CHAINS),
    "asks identity/exchange.py _lent_for": (DELEGATED, CHAINS),
    "asks identity/svid.py _may_have": (WORKLOAD,),
    "asks bootstrap/workload.py entitled": (WORKLOAD,),
}
_TELLS = "tells of what is public, or of what the operator knows"
_TAKES = "takes authority away, or answers no"
_ADMIN = "changes what is Charter's own, and gives no principal anything"
# What gives nothing to any principal, and why.
GIVES_NOTHING: dict[str, str] = {
    "asks gateway/pipeline.py _forward": "finds a permit gone, and asks why",
    "asks gateway/denied_now.py denied_now": "tells people on a card that no yes would help; each call asks for itself",
    "oauth GET /oauth/jwks": _TELLS,
    "oauth GET /oauth/status": _TELLS,
    "oauth GET /oauth/status/": _TELLS,
    "oauth GET /.well-known/oauth-authorization-server": _TELLS,
    "oauth GET /.well-known/openid-configuration": _TELLS,
    "oauth POST /oauth/device": "shows a code; what it opens, a person says",
    "oauth POST /oauth/register": "names a client of a charter that lets clients register; it holds nothing yet",
    "control POST /v1/leases/{lease_id}/revoke": _TAKES,
    "oauth POST /oauth/revoke": _TAKES,
    "control POST /v1/stand-ins": "names who may answer in one's roles; what they answer is an approval given",
    "control POST /v1/stand-ins/end": _TAKES,
    "control POST /v1/repeats/{repeat_id}/end": _TAKES,
    "console POST /approvals/repeats/{repeat_id}": _TAKES,
    "console POST /stand-ins": "names who may answer in one's roles; what they answer is an approval given",
    "control POST /v1/evidence/seal": _TELLS,
    "control POST /v1/evidence/erase": _ADMIN,
    "control POST /v1/evidence/holds": _ADMIN,
    "control POST /v1/evidence/retention/preview": _TELLS,
    "control POST /v1/evidence/retention/run": _ADMIN,
    "control POST /v1/evidence/holds/{hold_id}/release": _ADMIN,
    "control POST /v1/responses/preview": _TELLS,
    "evidence question.refused": "says that a question meant nothing, and was denied",
    "evidence approval.cancelled": _TAKES,
    "mcp server/discover": _TELLS,
    "mcp ping": _TELLS,
    "control POST /v1/principals/{name}/move": "is how standing changes; a resume gives back what a charter grants",
    "control POST /v1/plan": _TELLS,
    "control POST /v1/plan/propose": "puts a plan before people; applying it is what changes charters",
    "control POST /v1/plans/{digest}/{answer}": "records what a person says of a plan",
    "console POST /principals/{name}/right-size": "takes authority away; what is left is asked as ever",
    "console POST /plans/{digest}": "records what a person says of a plan",
    "control POST /v1/plan/approve": "records a person's yes to one plan; applying it is what changes charters",
    "control POST /v1/right-size": "proposes a narrower charter; nothing is applied",
    "control POST /v1/right-size/accept": "takes authority away; what is left is asked as ever",
    "control POST /v1/right-size/{answer}": "records what a person says of a proposal",
    "control POST /v1/compositions/{name}/accept": "gives back what a change took; what may be done is asked as ever",
    "control POST /v1/apply": "is how charters change; standing and epoch stay, and are asked on every use",
    "control POST /v1/evidence/verify": _TELLS,
    "control POST /v1/why": "tells what would be decided; nothing is decided, counted or called",
    "control POST /v1/what-if": "tells what files would change of recorded calls; nothing is applied",
    "asks bootstrap/why.py _stopped": "tells that a supposed call would be stopped",
    "control POST /v1/approvals/{approval_id}/refuse": _TAKES,
    "asks bootstrap/delegation.py view": _TELLS,
    "asks identity/status_list.py _status": _TELLS,
    "asks server/gateway_mcp.py _definitions": "asks of a system before its upstream is asked for tools",
}
# Beginnings of names that give nothing, all of them.
GIVES_NOTHING_BELOW: dict[str, str] = {
    "control DELETE ": _TAKES,
    "control POST /v1/people/": _ADMIN,
    "control POST /v1/vault/": "keeps what upstreams are reached with; a call needs a permit to use any of it",
    "control POST /v1/keys/": _ADMIN,
    "control POST /v1/evidence/export": _TELLS,
    "control POST /v1/evidence/ingest": "takes in what others tell; no verdict rests on it",
    "control POST /v1/evidence/decisions": "records what a program decided before; no verdict rests on it",
    "control POST /v1/evidence/actors": "says whom others' logs mean; no verdict rests on it",
    "control POST /v1/evidence/sinks": _TELLS,
    "control POST /v1/evidence/watched-logs": _ADMIN,
    "control POST /v1/evidence/watched-logs/remove": _ADMIN,
    "control POST /v1/evidence/witnesses/ask": _TELLS,
    "control POST /v1/sinks/": _ADMIN,
    "control POST /v1/sources": "gives a key that opens the door for spans alone; no verdict rests on a span",
    "control POST /v1/findings": _ADMIN,
    "control POST /v1/cards": "looks at an agent card; a principal whose card is another loses by it",
    "control POST /v1/console/": _ADMIN,
    "control POST /v1/nodes/": "lets a machine in or out; what its processes get is asked as for any process",
    "control POST /v1/federations": "is whom our workloads may believe; what outsiders may do here, no charter says",
    "control POST /v1/delegations/": "withdraws, or switches on and off, what was lent",
    "console POST /evidence/": "takes payloads of evidence away, or holds them; nobody's standing changes by it",
    "console POST /findings/": "says what a person makes of a finding; nobody's standing changes by it",
    "console POST /delegations/own/withdraw": _TAKES,
    "console POST /delegations/withdraw": _TAKES,
    "console POST /delegations/switch": "switches on and off what was lent",
    "console POST /principals/": "is how standing changes",
    "console POST /credentials/": "asks a client for another key, revokes one, or replaces one of Charter's own",
    "control POST /v1/behaviour/": "says what is normal; what a signal took comes back as ever",
    "console POST /behaviour/": "says what is normal; what a signal took comes back as ever",
    "console POST /compositions/": "gives back what a change took; what may be done is asked as ever",
    "console POST /sign-": _ADMIN,
    "console POST /passkeys": _ADMIN,
    "console POST /terminal": _ADMIN,
    "evidence ": "states what happened to Charter, to people or to files; no principal gets anything by it",
}


# --- what there is ---


@pytest.fixture(scope="module")
def there_is(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    with a_fuzz_world(tmp_path_factory.mktemp("coverage")) as world:
        oauth = OAuthApp.of(world.house)
        found = {f"oauth {method} {endpoint.path}" for endpoint in oauth.endpoints for method in endpoint.methods}
        found |= {f"grant {name}" for name in oauth.flows.grant_types}
        decision_paths = every_decision_path(world.house)
        console: Any = console_app(HouseDesk(world.house), world.signin).app
        found |= set(changes("console", console.openapi()))
    found |= set(changes("control", control_app(None).openapi()))  # type: ignore[arg-type]  # asked for its routes alone
    found |= {f"mcp {method}" for method in mcp_methods()}
    found |= {f"access {path.removeprefix(DECISION_PATH + '/')}" for path in decision_paths}
    visit = WorkloadVisit(None, None, None)  # type: ignore[arg-type]  # asked for its methods alone
    found |= {f"workload {path.removeprefix(SERVICE)}" for path in visit.__mapping__()}
    found |= {f"evidence {kind.value}" for kind in EntryKind}
    found |= {f"asks {place}" for place in askers()}
    return found


def every_decision_path(house: House) -> tuple[str, ...]:
    """Return the paths of the decision API with all profiles on."""
    told = house.settings
    house.settings = told.model_copy(update={"authzen_profiles": tuple(Profile)})
    try:
        return AccessApp.of(house, GatewayApp.of(house)).paths
    finally:
        house.settings = told


def changes(what: str, document: dict[str, Any]) -> Iterator[str]:
    for path, methods in document["paths"].items():
        yield from (f"{what} {method.upper()} {path}" for method in methods if method != "get")


def mcp_methods() -> list[str]:
    """Return the methods that the gateway's dispatch knows."""
    tree = ast.parse((SOURCE / "server" / "gateway_mcp.py").read_text(encoding="utf-8"))
    cases = [node.pattern for node in ast.walk(tree) if isinstance(node, ast.match_case)]
    values = [case.value for case in cases if isinstance(case, ast.MatchValue)]
    return [value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)]


@cache
def askers() -> frozenset[str]:
    """Return the functions that put the question, by their file; the question's own parts left out."""
    found = set()
    for path in sorted(SOURCE.rglob("*.py")):
        name, text = str(path.relative_to(SOURCE)), path.read_text(encoding="utf-8")
        if name in ("identity/authority.py", "registry/standing.py") or not any(each in text for each in QUESTIONS):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and asks(node):
                found.add(f"{name} {node.name}")
    return frozenset(found)


def asks(function: ast.AST) -> bool:
    called = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
    named = {call.id for call in called if isinstance(call, ast.Name)}
    named |= {
        call.attr for call in called if isinstance(call, ast.Attribute) and ast.unparse(call.value) == "authority"
    }
    return not named.isdisjoint(QUESTIONS)


def test_what_there_is_is_found(there_is: set[str]) -> None:
    assert {"mcp tools/call", "oauth POST /oauth/token", "evidence verdict", "workload FetchX509SVID"} <= there_is
    assert "asks gateway/facts.py resolve" in there_is


# --- each of it is walked, or gives nothing ---


def test_each_way_in_is_walked_or_says_why_it_gives_nothing(there_is: set[str]) -> None:
    silent = {
        name
        for name in there_is - WALKED.keys() - GIVES_NOTHING.keys()
        if not any(name.startswith(beginning) for beginning in GIVES_NOTHING_BELOW)
    }
    assert sorted(silent) == [], "say in test_standing_coverage.py what walks these, or why they give nothing"


def test_nothing_is_spoken_of_that_is_not_there(there_is: set[str]) -> None:
    assert (WALKED.keys() | GIVES_NOTHING.keys()) - there_is == set()


def test_what_is_said_to_walk_is_there() -> None:
    for walkers in WALKED.values():
        for walker in walkers:
            file, _, test = walker.partition("::")
            if test:
                assert re.search(rf"^def {test}\(", (HERE / file).read_text(encoding="utf-8"), re.MULTILINE), walker
            else:
                assert walker in PATHS


def test_every_path_walks_something() -> None:
    walkers = {walker for each in WALKED.values() for walker in each}
    assert PATHS.keys() <= walkers


# --- and each path really puts the question ---


@pytest.mark.parametrize("name", PATHS)
def test_a_path_gives_nothing_as_soon_as_the_one_question_is_answered_no(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is withdrawn here: only the question's answer changes. A path that gives something did not ask."""
    with a_world(tmp_path) as world:
        no = Refusal("x", "the one question is answered no", "nothing would mend it")
        monkeypatch.setattr(question, "may_act", lambda *_, **__: no)
        assert not gives(PATHS[name], world)


def test_the_paths_put_the_question_wherever_the_code_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever puts it is seen doing so by the walk, save those whom another test walks."""
    seen: set[str] = set()
    real = question.may_act

    def heard(*given: Any, **named: Any) -> Any:
        seen.add(caller(sys._getframe(1)))
        return real(*given, **named)

    monkeypatch.setattr(question, "may_act", heard)
    for name, way in PATHS.items():
        folder = tmp_path / name.replace(" ", "-").replace("/", "-")
        folder.mkdir()
        with a_world(folder) as world:
            assert gives(way, world), name
    elsewhere = {name for name, walkers in WALKED.items() if not any(walker in PATHS for walker in walkers)}
    wanted = {f"asks {place}" for place in askers()} - elsewhere - GIVES_NOTHING.keys()
    assert wanted <= {f"asks {place}" for place in seen}


def caller(frame: FrameType | None) -> str:
    """Return the function outside the question that put it."""
    own = Path(question.__file__)
    while frame is not None and Path(frame.f_code.co_filename) == own:
        frame = frame.f_back
    while frame is not None and frame.f_code.co_name.startswith("<"):
        frame = frame.f_back
    assert frame is not None
    return f"{Path(frame.f_code.co_filename).relative_to(SOURCE)} {frame.f_code.co_name}"
