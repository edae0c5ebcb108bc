"""How an admitted call went on: what the entry that closes its verdict says."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

from charter.gateway.mcp_questions import Question

Message = dict[str, Any]
USED = "charter/used"  # in the result of a call to a model: what it took


@dataclass(slots=True)
class Outcome:
    """How an admitted call goes on, gathered while it is under way."""

    started: float
    word: str = "cancelled"  # what stands if nobody waits for the end
    sent: bool = True
    bytes: int = 0
    digest: str | None = None
    took: dict[str, Decimal] = field(default_factory=dict)  # of a model: what is summed by limits, as it came to be
    asked: list[Question] = field(default_factory=list)  # what its server asked on the way
    used: dict[str, Any] | None = None  # of a model: tokens, and which model answered

    def see(self, message: Message) -> None:
        """Take note of one message from the upstream."""
        if "method" in message:
            return
        data = msgspec.json.encode(message)
        self.bytes += len(data)
        self.digest = "sha256:" + hashlib.sha256(data).hexdigest()
        result = message.get("result")
        is_ok = isinstance(result, dict) and not result.get("isError", False)
        self.word = "ok" if is_ok else "tool-error"
        if isinstance(result, dict) and isinstance(result.get(USED), dict):
            self._used(result[USED])

    def _used(self, told: dict[str, Any]) -> None:
        """Take note of what a model's answer says that it took."""
        self.used = told
        self.bytes, self.digest = int(told["bytes"]), str(told["digest"])
        if "input_tokens" in told:
            tokens = {"input_tokens": told["input_tokens"], "max_tokens": told["output_tokens"]}
            self.took = {name: Decimal(value) for name, value in tokens.items()}
            self.took["tokens"] = sum(self.took.values(), Decimal(0))
        if "cost" in told:
            self.took["cost"] = Decimal(told["cost"])

    def end(self, word: str, *, sent: bool) -> None:
        """Say that the call ended otherwise than by an answer."""
        self.word, self.sent = word, sent

    def stopped(self, why: str | None) -> None:
        """Say why it may not go on, if so: a caller who took nothing of it was cut off, and is not one who left."""
        if why is not None and self.word == "cancelled":
            self.end("withdrawn", sent=self.sent)

    def to_json(self, now: float) -> dict[str, Any]:
        """Return what the outcome's evidence entry says of it."""
        return {
            "outcome": self.word,
            "sent": self.sent,
            "bytes": self.bytes,
            "result_digest": self.digest,
            "duration_ms": round((now - self.started) * 1000),
            **({"asked": [question.told() for question in self.asked]} if self.asked else {}),
        } | ({"used": self.used} if self.used is not None else {})
