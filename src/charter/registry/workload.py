"""What a charter says of the process that is its principal: selectors, which must all match (`credential.workloads`).

A process is looked at by the kernel's word, never by its own. Who may run where is decided by whoever sets users and
starts units, so at least one of `uid`, `gid` and `unit` is asked for: a path or a digest alone would make anyone who
can start that program the principal.

INVARIANT: each selector has one value for a process, so that two sets of selectors that name one differently can never
match the same process.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, StringConstraints, model_validator

from charter.core.errors import MalformedError
from charter.core.values import parse_name, parse_trust_domain

MAX_ID = 2**32 - 2  # the last one is -1, which means none
MAX_PATH = 1024
_SHA256 = re.compile(r"[0-9a-f]{64}")
_UNIT = re.compile(r"[A-Za-z0-9:_.@\\-]{1,240}\.(?:service|scope)")
_FIRST_PROCESS = "init.scope"  # systemd's own, and the parent of every process whose parent has gone
_SETTERS = ("uid", "gid", "unit")


def _path(text: str) -> str:
    parts = text.split("/")
    if parts[0] or any(part in ("", ".", "..") for part in parts[1:]) or not text.isprintable():
        raise ValueError(f"`{text[:80]}` is no program's path; write it whole, as in /usr/local/bin/agent")
    return text


def _sha256(text: str) -> str:
    if not _SHA256.fullmatch(text):
        raise ValueError("is no SHA-256; write its 64 hexadecimal digits, as `sha256sum` prints them")
    return text


def _unit(text: str) -> str:
    if not _UNIT.fullmatch(text) or text == _FIRST_PROCESS:
        raise ValueError(f"`{text[:80]}` is no unit of a workload; write it as in refund-agent.service")
    return text


def _named(text: str) -> str:
    try:
        return parse_name(text, "node")
    except MalformedError as err:
        raise ValueError(f"{err.detail}; {err.help}") from err


def _trust_domain(text: str) -> str:
    try:
        return parse_trust_domain(text)
    except MalformedError as err:
        raise ValueError(f"{err.detail}; {err.help}") from err


_Text = StringConstraints(strict=True, min_length=1, max_length=MAX_PATH)
_Id = Annotated[StrictInt, Field(ge=0, le=MAX_ID)]
TrustDomainName = Annotated[str, StringConstraints(strict=True, max_length=255), AfterValidator(_trust_domain)]


class Workload(BaseModel):
    """One set of selectors. Without `node`, a process on the machine that Charter itself runs on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    node: Annotated[str, _Text, AfterValidator(_named)] | None = None
    uid: _Id | None = None
    gid: _Id | None = None
    path: Annotated[str, _Text, AfterValidator(_path)] | None = None
    sha256: Annotated[str, _Text, AfterValidator(_sha256)] | None = None
    unit: Annotated[str, _Text, AfterValidator(_unit)] | None = None

    @model_validator(mode="after")
    def _somebody_decides(self) -> Workload:
        if all(getattr(self, name) is None for name in _SETTERS):
            raise ValueError(
                "lets in whoever starts that program; name who may run it too, by `uid`, `gid` or the systemd `unit`"
            )
        return self

    @property
    def conditions(self) -> dict[str, str | int]:
        """What must be so, by selector; `node` always is one."""
        return {"node": ""} | self.model_dump(exclude_none=True)
