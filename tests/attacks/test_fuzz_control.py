"""Whatever is sent to the control API: a clear answer, soon, without a trace or a secret.

Its operations are those of its own OpenAPI document, and so are the shapes of what is sent, so that none can be added
that is not tried here.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from charter.registry.access import Access
from charter.server.control import control_app
from fuzz_stage import World, a_world, check, fuzzed
from hostile import BROKEN_JSON, JSON, TEXT, of_schema, spelt
from houses import estate_files

DOCUMENT: dict[str, Any] = control_app(None).openapi()  # type: ignore[arg-type]  # asked for its routes alone
OPERATIONS = [(method.upper(), path) for path, each in DOCUMENT["paths"].items() for method in each]
NAMES = (
    "refund-agent",
    "charge-reader",
    "payments",
    "vrd_" + "0" * 26,
    "apr_" + "0" * 26,
    "crd_" + "0" * 26,
    "1",
    "-1",
)
SEGMENT = st.sampled_from(NAMES) | TEXT.map(lambda text: text[:2000])


def escaped(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


def estates() -> st.SearchStrategy[dict[str, str]]:
    """Return estates as they are, with a piece of a file changed, with a file too many, and with none."""
    whole = estate_files()

    def changed(path: str, start: int, piece: str) -> dict[str, str]:
        text = whole[path]
        start %= len(text)
        return whole | {path: text[:start] + piece + text[start + len(piece) :]}

    paths = st.sampled_from(["guardrails/x.cedar", "tests/x.yaml", "patterns/x.yaml", "principals/X.yaml", "../x"])
    some = st.builds(changed, st.sampled_from(sorted(whole)), st.integers(0, 5000), TEXT)
    more = st.builds(
        lambda path, text: whole | {path: text}, paths | TEXT, TEXT | st.sampled_from(list(whole.values()))
    )
    return some | more | st.just(whole) | st.dictionaries(TEXT, TEXT, max_size=3)


@st.composite
def keys(draw: st.DrawFn) -> Any:
    """Return public keys with one member changed, some of which hold their private half."""
    numbers = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    x, y = (base64.urlsafe_b64encode(n.to_bytes(32)).rstrip(b"=").decode() for n in (numbers.x, numbers.y))
    key: dict[str, Any] = {"kty": "EC", "crv": "P-256", "x": x, "y": y}
    return key | {draw(st.sampled_from([*key, "d", "use", "alg", "key_ops", "kid", "x5c"])): draw(TEXT | JSON)}


@st.composite
def requests(draw: st.DrawFn, method: str, path: str, folder: Path) -> tuple[str, bytes | None]:
    """Return an address and a body for one operation."""
    told = DOCUMENT["paths"][path][method.lower()]
    query = []
    for parameter in told.get("parameters", []):
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", escaped(draw(SEGMENT)) or "%20")
        elif draw(st.booleans()):
            query.append(
                f"{parameter['name']}={escaped(str(draw(of_schema(parameter['schema'], DOCUMENT) | TEXT))[:2000])}"
            )
    address = f"{path}?{'&'.join(query)}" if query else path
    if "requestBody" not in told:
        return address, None
    if draw(st.integers(0, 4)) == 0:
        return address, draw(BROKEN_JSON)
    body = draw(of_schema(told["requestBody"]["content"]["application/json"]["schema"], DOCUMENT))
    if isinstance(body, dict):
        body = _nearly_right(draw, body, folder)
    return address, spelt(body)


def _nearly_right(draw: st.DrawFn, body: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a body with fields that come close to what they should be; what is written is written to `folder`."""
    near: dict[str, st.SearchStrategy[Any]] = {
        "files": estates(),
        "path": TEXT.map(lambda text: str(folder / "out") + text.replace("/", "_")),
        "jwk": keys() | JSON,
        "actor": st.just("pia@example.com") | TEXT,
        "person": st.sampled_from(["lena@example.com", "maria@example.com"]) | TEXT,
        "reason": st.just("a test") | TEXT,
    }
    return {name: draw(near[name]) if name in near else value for name, value in body.items()}


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=[f"{m} {p}" for m, p in OPERATIONS])
def test_nothing_sent_breaks_it(tmp_path: Path, method: str, path: str) -> None:
    with a_world(tmp_path) as world:

        @fuzzed(25)
        @given(requests(method, path, tmp_path))
        def attempt(asked: tuple[str, bytes | None]) -> None:
            address, body = asked
            headers = {"content-type": "application/json"} if body is not None else {}
            check(world, world.ask(world.control, method, address, content=body, headers=headers))

        attempt()
        assert world.house.database.healthy


@pytest.mark.parametrize("access", [None, Access.VIEWER, Access.ADMIN])
def test_nothing_sent_through_the_public_door_breaks_it_or_takes_more_than_one_has(
    tmp_path: Path, access: Access | None
) -> None:
    """The same operations, asked by a terminal elsewhere: a stranger gets nothing, a viewer changes nothing."""
    with a_world(tmp_path) as world:
        token = world.signin.open("pia@example.com", access, is_terminal=True) if access else "a-guess"
        world.secrets.append(token)
        before = world.house.database.head.size
        for method, path in OPERATIONS:
            fuzz_through_the_door(world, method, path, token, tmp_path)
        if access is not Access.ADMIN:
            assert world.house.database.head.size == before


def fuzz_through_the_door(world: World, method: str, path: str, token: str, folder: Path) -> None:
    @fuzzed(3)
    @given(requests(method, path, folder), st.sampled_from(["", "origin", "cookie"]))
    def attempt(asked: tuple[str, bytes | None], other: str) -> None:
        address, body = asked
        world.forgive()
        headers = {"authorization": f"Bearer {token}", "host": world.issuer.removeprefix("http://")}
        headers |= {"content-type": "application/json"} if body is not None else {}
        headers |= {other: "https://evil.example"} if other else {}
        answer = world.ask(world.doors, method, address, content=body, headers=headers)
        check(world, answer)
        if token == "a-guess" or other:
            assert answer.status_code in (400, 401, 403, 404, 413, 415), answer.text

    attempt()


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/", "/v1/principals/", "/docs", "/openapi.json/x", "//v1/status", "/v2/status"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "TRACE", "OPTIONS"])
def test_what_is_not_there_is_said_in_a_problem_document(tmp_path: Path, method: str, path: str) -> None:
    with a_world(tmp_path) as world:
        answer = world.ask(world.control, method, path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
        check(world, answer)


def test_a_body_larger_than_any_estate_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from charter.server import control

    monkeypatch.setattr(control, "MAX_BODY_BYTES", 10_000)
    with a_world(tmp_path) as world:
        headers = {"content-type": "application/json"}
        body = spelt({"files": {"a": "x" * 20_000}})
        answer = world.ask(world.control, "POST", "/v1/plan", content=body, headers=headers)
        assert (answer.status_code, answer.json()["detail"]) == (400, "the body cannot be read")


@pytest.mark.parametrize("field", ["at", "principal", "object"])
def test_half_a_surrogate_pair_is_no_text(tmp_path: Path, field: str) -> None:
    """JSON can spell it and UTF-8 cannot, so no message may repeat it (RFC 8259 section 8.2)."""
    with a_world(tmp_path) as world:
        call = {"principal": "refund-agent", "system": "payments", "action": "refund.create", field: "\ud800"}
        headers = {"content-type": "application/json"}
        answer = world.ask(world.control, "POST", "/v1/why", content=spelt({"call": call}), headers=headers)
        assert answer.status_code == 400, answer.text
        check(world, answer)


def test_a_secret_in_an_unknown_field_is_not_repeated(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        headers = {"content-type": "application/json"}
        body = spelt({"move": "kill", "reason": "x", "actor": "a", "hunter2": "hunter2", "deep": {"d": "hunter2"}})
        answer = world.ask(world.control, "POST", "/v1/principals/refund-agent/move", content=body, headers=headers)
        assert answer.status_code == 400
        assert "hunter2" not in answer.text
        assert "Extra inputs are not permitted" in answer.text
