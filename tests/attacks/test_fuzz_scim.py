"""Whatever is sent to the SCIM endpoints, by a provisioner or a stranger: a clear answer, without a trace or a secret.

The endpoints and attributes are those that stand in the code.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from charter.bootstrap import people
from charter.server.scim import PREFIX
from charter.server.scim_kinds import KINDS
from fuzz_stage import World, a_world, check, fuzzed, words_of
from hostile import BROKEN_JSON, JSON, TEXT, spelt

WORDS = [word for word in words_of("server/scim*.py") if len(word) < 60]
ENDPOINTS = [*KINDS, "/ServiceProviderConfig", "/ResourceTypes", "/Schemas", "/.search", "/Me", "/Bulk", ""]
NAMES = (
    "userName",
    "displayName",
    "members",
    "active",
    "emails",
    "name",
    "schemas",
    "id",
    "externalId",
    "value",
    "meta",
)
OPERATORS = ("eq", "ne", "co", "sw", "ew", "pr", "gt", "le", "and", "or", "not", "(", ")", "[", "]", '"', ".", "")
USER = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "ana@example.com", "active": True}


@st.composite
def filters(draw: st.DrawFn) -> str:
    parts = st.sampled_from(NAMES) | st.sampled_from(OPERATORS) | TEXT.map(lambda text: f'"{text[:200]}"')
    return " ".join(draw(st.lists(parts, max_size=7)))


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Return a resource, a patch or a search that is nearly right, and bodies that are nothing."""
    operation = {
        "op": draw(st.sampled_from(["add", "remove", "replace"]) | TEXT),
        "path": draw(filters() | st.sampled_from(NAMES)),
    }
    operation["value"] = draw(JSON | st.dictionaries(st.sampled_from(NAMES), JSON, max_size=3))
    patch = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation]}
    search = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": draw(filters())}
    whole: dict[str, Any] = draw(st.sampled_from([USER, USER, patch, patch, search]))
    changed = draw(st.dictionaries(st.sampled_from(NAMES) | st.sampled_from(WORDS), JSON, max_size=2))
    return draw(st.just(spelt(whole | changed)) | st.just(spelt(whole | changed)) | BROKEN_JSON)


@st.composite
def requests(draw: st.DrawFn, known: tuple[str, ...]) -> tuple[str, str, bytes]:
    path = PREFIX + draw(st.sampled_from(ENDPOINTS))
    if draw(st.booleans()):
        path += "/" + quote(draw(st.sampled_from(known) | TEXT)[:700].encode("utf-8", "surrogatepass"), safe="")
    query = draw(
        st.dictionaries(st.sampled_from(["filter", "startIndex", "count", "attributes", "sortBy"]), filters() | TEXT)
    )
    text = "&".join(
        f"{name}={quote(value[:1500].encode('utf-8', 'surrogatepass'), safe='')}" for name, value in query.items()
    )
    method = draw(st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]))
    return method, f"{path}?{text}" if text else path, draw(bodies())


def send(world: World, token: str, asked: tuple[str, str, bytes]) -> Any:
    method, path, body = asked
    headers = {"authorization": f"Bearer {token}", "content-type": "application/scim+json"}
    content = body if method in ("POST", "PUT", "PATCH") else None
    return world.ask(world.doors, method, path, content=content, headers=headers)


def test_nothing_a_provisioner_sends_breaks_it(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        made = asyncio.run(people.add_provisioner(world.house, "okta", actor="sam@example.com"))
        world.secrets.append(made["token"])
        user = send(world, made["token"], ("POST", f"{PREFIX}/Users", spelt(USER)))
        assert user.status_code == 201, user.text

        @fuzzed(120)
        @given(requests((user.json()["id"], ".search")))
        def attempt(asked: tuple[str, str, bytes]) -> None:
            world.forgive()
            check(world, send(world, made["token"], asked))

        attempt()
        assert world.house.database.healthy


def test_nothing_a_stranger_sends_gives_anything(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:

        @fuzzed(40)
        @given(requests(("usr_1",)), TEXT)
        def attempt(asked: tuple[str, str, bytes], guess: str) -> None:
            world.forgive()
            answer = send(
                world, guess.encode("ascii", "ignore").decode().replace("\x00", "")[:500].strip() or "x", asked
            )
            check(world, answer)
            assert answer.status_code in (
                303,
                400,
                401,
                404,
                405,
                413,
                415,
            )  # without a slash behind it, it is the console

        attempt()
