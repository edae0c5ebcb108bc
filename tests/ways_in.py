"""Every way in which a principal gets something, and a principal with everything it could have.

with a_world(tmp_path) as world:
    assert PATHS["decision"].attempt(world)

Whoever adds a way to get something adds a row, says what it rests on, and gets every withdrawal tried on it
(attacks/test_standing_paths.py); attacks/test_standing_coverage.py finds in the code what has none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from charter.bootstrap import authority
from charter.core.errors import CharterError
from charter.gateway.call import Bearer
from charter.gateway.pins import ToolDefinition
from charter.gateway.pipeline import Admitted, Refused
from charter.identity.secret import fresh_secret, keep_secret
from charter.registry.charter import CredentialType
from charter.registry.principal import Principal
from charter.registry.standing import Move
from charter.server.oauth import OAuthApp
from charter.server.oauth_rotation import ROTATE_PATH
from houses import PIN, Stage, a_house, estate_files
from identity_stage import PAYMENTS, ClientKeyPair
from oauth_door import Door, Grants
from rotation_stage import rotation_request

AGENT = "refund-agent"
WAITING = {"charge_id": "ch_1", "amount": 150, "currency": "EUR"}
APPROVED = {"charge_id": "ch_2", "amount": 150, "currency": "EUR"}


@dataclass
class World:
    """A principal with everything it could have: a key, a token, a question that waits, a yes not yet used."""

    stage: Stage
    door: Door
    pair: ClientKeyPair
    token: str
    bearer: Bearer
    waiting: str
    approved: str
    following: ClientKeyPair = field(default_factory=lambda: ClientKeyPair.fresh("x"))

    def assertion(self) -> str:
        return self.pair.assertion(self.stage.clock.now())

    def submit(self, tool: str, arguments: dict[str, Any]) -> Admitted | Refused:
        return self.stage.submit(self.bearer, self.stage.make(tool, arguments))[0]

    def move(self, to: Move, name: str = AGENT) -> None:
        asyncio.run(authority.move(self.stage.house, name, to, actor="pia@example.com", reason="a test"))

    @property
    def principal(self) -> Principal:
        return self.stage.house.principal(AGENT)


@contextmanager
def a_world(folder: Path) -> Iterator[World]:
    with a_house(folder, files=estate_files(bearing=True)) as stage:
        house = stage.house
        pair = ClientKeyPair.fresh(house.principal(AGENT).id)
        asyncio.run(authority.register_key(house, AGENT, pair.jwk, actor="maria@example.com", reason="first use"))
        door = Door(OAuthApp.of(house), Grants())
        token = door.token(pair.assertion(stage.clock.now()), PAYMENTS).body["access_token"]
        bearer = house.pipeline.authenticate(token, audience=PAYMENTS, at=stage.clock.now())
        ids = []
        for arguments in (WAITING, APPROVED):
            held, _ = stage.submit(bearer, stage.make("create_refund", arguments))
            assert isinstance(held, Refused)
            ids.append(str(held.approval_id))
        world = World(stage, door, pair, token, bearer, *ids)
        assert approve(world, world.approved)
        yield world


def approve(world: World, approval_id: str) -> bool:
    deed = authority.answer(world.stage.house, approval_id, yes=True, person="lena@example.com", reason="seen")
    return bool(asyncio.run(deed)["state"] == "approved")


# --- the paths: each returns whether anything was granted ---


def token_endpoint(world: World) -> bool:
    return world.door.token(world.assertion(), PAYMENTS).status == 200


def introspection(world: World) -> bool:
    answer = world.door.post("/oauth/introspect", token=world.token, **world.door.client(world.assertion()))
    return answer.body.get("active", False) is True


def key_registration(world: World) -> bool:
    jwk = ClientKeyPair.fresh("x").jwk
    deed = authority.register_key(world.stage.house, AGENT, jwk, actor="maria@example.com", reason="another")
    return bool(asyncio.run(deed)["key"])


def key_rotation(world: World) -> bool:
    """Let the client replace its key; asked again for the same, it is answered the same."""
    text = rotation_request(world.pair, world.following, world.stage.clock.now(), header={"kid": world.pair.thumbprint})
    return world.door.post(ROTATE_PATH, rotation=text).status == 200


def secret(world: World) -> bool:
    """Make a secret, as for a principal whose charter says that it has one."""
    stage, known = world.stage, world.principal
    legacy = replace(known, terms=replace(known.terms, type=CredentialType.LEGACY_SECRET))
    made = fresh_secret(stage.house.entropy)
    return bool(stage.house.database.write(lambda tx: keep_secret(tx, legacy, made, actor="maria", reason="a test")))


def gateway_door(world: World) -> bool:
    at = world.stage.clock.now()
    return world.stage.house.pipeline.authenticate(world.token, audience=PAYMENTS, at=at) == world.bearer


def decision(world: World) -> bool:
    return isinstance(world.submit("get_charge", {"charge_id": "ch_1"}), Admitted)


def tools_list(world: World) -> bool:
    tools = [ToolDefinition("get_charge", {"name": "get_charge"}, PIN)]
    return bool(world.stage.house.pipeline.visible(world.bearer, "payments", tools)[0])


def new_stream(world: World) -> bool:
    async def opened() -> bool:
        with world.stage.house.pipeline.admit_stream(world.bearer) as stream:
            await asyncio.sleep(0.01)
            return not stream.closed.is_set()

    return asyncio.run(opened())


def approval_given(world: World) -> bool:
    return approve(world, world.waiting)


def approval_spent(world: World) -> bool:
    return isinstance(world.submit("create_refund", APPROVED), Admitted)


@dataclass(frozen=True)
class WayIn:
    """One path, and what it rests on: withdraw any of that, and it must give nothing."""

    attempt: Callable[[World], bool]
    rests_on: frozenset[str]


PATHS = {
    "token endpoint": WayIn(token_endpoint, frozenset({"principal", "key", "system"})),
    "introspection": WayIn(introspection, frozenset({"principal", "key", "token", "system"})),
    "key registration": WayIn(key_registration, frozenset({"principal"})),
    "key rotation": WayIn(key_rotation, frozenset({"principal", "key"})),
    "secret": WayIn(secret, frozenset({"principal"})),
    "gateway door": WayIn(gateway_door, frozenset({"principal", "key", "token"})),
    "decision": WayIn(decision, frozenset({"principal", "key", "token", "system"})),
    "tools/list": WayIn(tools_list, frozenset({"principal", "key", "token", "system"})),
    "new stream": WayIn(new_stream, frozenset({"principal", "key", "token"})),
    "approval given": WayIn(approval_given, frozenset({"principal", "system"})),
    "approval spent": WayIn(approval_spent, frozenset({"principal", "key", "token", "system"})),
}


def gives(path: WayIn, world: World) -> bool:
    """Return whether a path gives anything; a clear refusal of any kind is nothing."""
    try:
        return path.attempt(world)
    except CharterError:
        return False
