"""A verdict as the log holds it, read back as the call that was decided.

Evidence holds no arguments, only what policy read of them (policy/asked.py) and the digest of the exact call. So a
recorded call can be decided again where policy reads nothing but numbers, flags, amounts and lengths, and otherwise as
far as `stand_in.py` can tell.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from charter.core.clock import parse_rfc3339
from charter.core.errors import CharterError
from charter.evidence.log import Stored
from charter.policy.asked import UNKNOWN, Asked, read_asked
from charter.policy.narrow import Narrowed
from charter.registry.narrowing import parse_narrowing

_NO_END = 2**40  # a token's own limits are counted for as long as it lives, which evidence does not say


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One verdict of the log."""

    index: int
    at: dt.datetime
    verdict_id: str
    verdict: str  # allow | deny | escalate
    principal: str
    principal_id: str
    system: str
    tool: str
    action: str | None  # None: the tool was of none, or an older version wrote a denial that needed no policy
    object: str
    rules: tuple[str, ...]  # that decided
    layer: str  # of the first of them
    text: str  # what it said
    delegation: str | None  # that the call was made under
    narrowed: Narrowed | None
    asked: Asked
    slice: str | None  # digest of the caller's policies; None: it was denied before policy was asked
    version: int  # of the caller's charter; 0: not known

    @property
    def reached_policy(self) -> bool:
        """Whether policy was asked, so that what it read of the arguments is recorded."""
        return self.slice is not None

    @property
    def moment(self) -> dt.datetime:
        """When it was decided."""
        return self.asked.at or self.at


def recorded_call(stored: Stored) -> RecordedCall:
    """Return the call that an entry of the kind `verdict` tells of."""
    entry = stored.to_json()
    body: Mapping[str, Any] = entry["body"]
    reasons = body.get("reasons") or [{}]
    return RecordedCall(
        index=int(entry["index"]),
        at=parse_rfc3339(entry["time"]),
        verdict_id=str(body["verdict_id"]),
        verdict=str(body["verdict"]),
        principal=str(body["principal"]),
        principal_id=str(entry["principal"]),
        system=str(body["system"]),
        tool=str(body["tool"]),
        action=body.get("action"),
        object=str(body.get("object") or ""),
        rules=tuple(str(each.get("rule", "")) for each in reasons),
        layer=str(reasons[0].get("layer", "")),
        text=str(reasons[0].get("text", "")),
        delegation=(body.get("chain") or {}).get("delegation"),
        narrowed=_narrowed(body),
        asked=read_asked(body["asked"]) if body.get("asked") else UNKNOWN,
        slice=body.get("slice"),
        version=int((body.get("charter") or {}).get("version") or 0),
    )


def _narrowed(body: Mapping[str, Any]) -> Narrowed | None:
    details = body.get("narrowed_to")
    if not details:
        return None
    try:
        return Narrowed(parse_narrowing(details), str(body.get("token")), _NO_END)
    except CharterError:  # of a version that spelt it otherwise; the call is then told as by an unnarrowed token
        return None
