"""A step of the demo: one agent's key turns up behind another, and both are held until a person has looked."""

from __future__ import annotations

from charter.cli.agent_keys import AgentTokens, agent_key
from charter.cli.demo.teller import Teller
from charter.core.clock import SystemClock
from charter.core.entropy import SystemEntropy

_ONE, _OTHER, _SYSTEM = "ledger-agent", "repo-helper", "git"
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_HELD = {"restrained", "suspended"}


def share_a_key(teller: Teller) -> None:
    """Let a token of the helper be bound to the ledger agent's key; look at what was noticed, and settle it."""
    teller.step("One key behind two agents is noticed at once, with both uses in the evidence")
    token = teller.ask("token", _ONE, "ledger")
    issuer = token["resource"].removesuffix("/mcp/ledger")
    status = _ask_with_anothers_key(teller, issuer)
    teller.claim(status == 200, "a valid token request of the helper, bound to the ledger agent's key")  # noqa: PLR2004 - HTTP's OK
    found = next((each for each in teller.ask("findings")["findings"] if each["kind"] == "shared-credential"), None)
    is_about = found is not None and sorted(found["principals"]) == sorted([_ONE, _OTHER])
    standings = {teller.ask("show", name)["standing"] for name in (_ONE, _OTHER)}
    teller.claim(
        is_about and standings <= _HELD, f"a finding names both, and both are {' and '.join(sorted(standings))}"
    )
    assert found is not None  # noqa: S101 - claimed above
    teller.charter("findings", found["id"], "--say", "resolved", "--reason", "the copy of the key is gone")
    for name in (_ONE, _OTHER):
        teller.charter("resume", name, "--reason", "see the finding")


def _ask_with_anothers_key(teller: Teller, issuer: str) -> int:
    """Ask for a token as the helper, with a DPoP proof by the ledger agent's key; return the HTTP status."""
    import httpx

    endpoint, clock, entropy = f"{issuer}/oauth/token", SystemClock(), SystemEntropy()
    ids = {name: str(teller.ask("show", name)["id"]) for name in (_ONE, _OTHER)}
    one, other = (
        AgentTokens(agent_key(teller.stage.keys, issuer, name), issuer, own, clock, entropy)
        for name, own in ids.items()
    )
    status = 0
    for _ in range(2):  # the server's nonce comes with its first answer
        form = other.authority.form("") | {
            "resource": f"{issuer}/mcp/{_SYSTEM}",
            "client_id": ids[_OTHER],
            "client_assertion_type": _ASSERTION,
            "client_assertion": other.assertion(),
        }
        answer = httpx.post(endpoint, data=form, headers={"dpop": one.proof("POST", endpoint)}, timeout=10)
        one.learn(answer.headers.get("dpop-nonce"))
        status = answer.status_code
        if answer.is_success:
            break
    return status
