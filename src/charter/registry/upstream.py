"""How Charter reaches an MCP server: as a child on its standard streams, or over HTTP."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from charter.registry.charter import Model
from charter.registry.problem import PlacedError
from charter.registry.upstream_credential import SecretRef, UpstreamCredential, VariableName

# What credentials look like: model and cloud keys, tokens, private keys, passwords within URLs.
_SECRET = re.compile(
    r"\bsk-[A-Za-z0-9_-]{16,}|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{20,}|\bhf_[A-Za-z0-9]{20,}"
    r"|\bxox[abprs]-[A-Za-z0-9-]{10,}|\bA[KS]IA[A-Z0-9]{16}\b|\bAIza[\w-]{30,}|\beyJ[\w-]{10,}\.eyJ|PRIVATE KEY-----"
    r"|://[^/\s:@]+:[^/\s@]+@"
)


def _refuse_secret(text: str, path: tuple[str | int, ...], help: str) -> None:
    """Refuse what looks like a credential: an estate is read by many, kept in git and shown in plans."""
    if _SECRET.search(text):
        raise PlacedError(path, f"this looks like a secret, which an estate must not hold; {help}")


Asks = Annotated[tuple[Literal["elicitation", "sampling", "roots"], ...], Field(min_length=1, max_length=3)]


class StdioUpstream(Model):
    """An MCP server that Charter starts as a child and speaks to over its standard streams.

    `command` words may hold `${estate}`, the estate's folder. `pass_env` names variables of Charter's own environment
    that the child receives, and `secrets` variables that it finds secrets in; of the rest it gets PATH, HOME, LANG and
    TMPDIR alone.
    """

    transport: Literal["stdio"]
    command: Annotated[tuple[str, ...], Field(min_length=1, max_length=64)]
    cwd: str | None = None
    env: dict[str, str] = Field(default_factory=dict)
    pass_env: tuple[str, ...] = ()
    secrets: Annotated[dict[VariableName, SecretRef], Field(max_length=32)] | None = None
    asks: Asks | None = None  # what it may ask of the person or model behind a call; None: nothing
    handshake: Literal[True] | None = None  # speak to it as before 2026-07-28, though it knows that version too

    @model_validator(mode="after")
    def _one_source(self) -> StdioUpstream:
        for name in sorted(self.secrets or ()):
            if name in self.env or name in self.pass_env:
                raise PlacedError(("secrets", name), f"`{name}` is said twice; keep it in `secrets` alone")
        return self

    @model_validator(mode="after")
    def _without_secrets(self) -> StdioUpstream:
        for name, value in self.env.items():
            _refuse_secret(value, ("env", name), f"put it into the vault, and write `secrets: {{{name}: vault:NAME}}`")
        for index, value in enumerate(self.command):
            _refuse_secret(value, ("command", index), "hand it over in a variable that `secrets` names")
        return self


class HttpUpstream(Model):
    """An MCP server reached by streamable HTTP, with Charter's own `credential` for it, if any.

    `token_env: NAME` is short for a bearer token in the variable NAME.
    """

    transport: Literal["http"]
    url: Annotated[str, StringConstraints(strict=True, pattern=r"^https?://[^\s]+$", max_length=2048)]
    token_env: str | None = None
    credential: UpstreamCredential | None = None
    asks: Asks | None = None  # what it may ask of the person or model behind a call; None: nothing
    handshake: Literal[True] | None = None  # speak to it as before 2026-07-28, though it knows that version too

    @model_validator(mode="after")
    def _without_secrets(self) -> HttpUpstream:
        _refuse_secret(self.url, ("url",), "put it into the vault, and name it in `credential`")
        if self.token_env is not None and self.credential is not None:
            raise PlacedError(("token_env",), "`credential` says how it is proved already; keep one of them")
        return self


Upstream = Annotated[StdioUpstream | HttpUpstream, Field(discriminator="transport")]
