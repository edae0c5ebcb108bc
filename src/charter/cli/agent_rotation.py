"""An agent replaces its own key: made here, told to Charter by both keys, and used once Charter said that it counts.

    (1) write the next key beside the one in use: `<principal>.next.pem`
    (2) send the request that both sign (identity/rotation_request.py)
    (3) let the next key take the place of the other, file and all

INVARIANT: at each instant one of the two files holds a key that Charter accepts: whoever is killed between the steps
goes on with the next (2), which is answered as before if it was carried out already.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import httpx

from charter.adapters import whole_file
from charter.cli.agent_keys import AgentKey, AgentTokens, make_key, open_key, refused
from charter.cli.output import warn
from charter.core.errors import CharterError, ErrorCode, UnavailableError
from charter.identity.jose import thumbprint_of

ROTATE_PATH = "/oauth/rotate"


async def replace_when_due(tokens: AgentTokens) -> bool:
    """Replace the agent's key; return whether it has another one now. What fails is said, and tried again later."""
    try:
        return await replace_key(tokens)
    except CharterError as err:
        warn(f"the key of {tokens.key.principal} is due and could not be replaced: {err.detail}")
        return False


async def replace_key(tokens: AgentTokens) -> bool:
    """Replace the agent's key; return whether it has another one now, as when another process was faster.

    Raises:
        CharterError: Charter refuses it or cannot be reached, or a file cannot be used.
    """
    key = tokens.key
    try:
        if key.reread():  # another process of this agent was faster
            return True
        following = next_key(key)
        await _tell(tokens, following)
        take_place(key, following)
    except OSError as err:
        why = (err.strerror or str(err)).lower()
        raise UnavailableError(
            ErrorCode.STORE_FAILED, f"the key of `{key.principal}` cannot be replaced: {why}", help="mend the folder"
        ) from err
    return True


def next_path(key: AgentKey) -> Path:
    """Return where the key that follows `key` waits."""
    return key.path.with_suffix(".next.pem")


def next_key(key: AgentKey) -> AgentKey:
    """Return the key that is to follow `key`, making it the first time."""
    path = next_path(key)
    if not path.exists():
        make_key(path)
    return open_key(key.principal, path)


def settle(key: AgentKey, in_use: Sequence[dict[str, str]]) -> None:
    """Finish what broke off after Charter carried it out: if it knows the key that waits, and `key` no more."""
    if key.jwk not in in_use and next_path(key).exists() and (following := next_key(key)).jwk in in_use:
        take_place(key, following)


def take_place(key: AgentKey, following: AgentKey) -> None:
    """Let `following` be the key in use, in its file too."""
    with contextlib.suppress(FileNotFoundError):  # another process of this agent did
        following.path.replace(key.path)
        whole_file.sync_folder(key.path.parent)
    key.become(following)


async def _tell(tokens: AgentTokens, following: AgentKey) -> None:
    """Let Charter know that `following` is the agent's key from now on."""
    status, found = await tokens.post(ROTATE_PATH, {"rotation": rotation_request(tokens, following)})
    if status != httpx.codes.OK:
        raise refused(found)


def rotation_request(tokens: AgentTokens, following: AgentKey) -> str:
    """Return the request that both keys signed."""
    from charter.identity.rotation_request import PROOF_TYPE, REQUEST_SECONDS, TYPE

    now, client = int(tokens.clock.now().timestamp()), tokens.client_id
    claims = {
        "iss": client,
        "sub": client,
        "aud": tokens.issuer + ROTATE_PATH,
        "iat": now,
        "exp": now + REQUEST_SECONDS // 2,
    }
    old = thumbprint_of(tokens.key.jwk)
    proof = following.sign({"typ": PROOF_TYPE, "jwk": following.jwk}, claims | {"old": old})
    return tokens.key.sign({"typ": TYPE, "kid": old}, claims | {"jti": tokens.entropy.token(16), "new": proof})
