"""Asking a witness over HTTP to cosign a head (C2SP tlog-witness, add-checkpoint)."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field

from charter.adapters.document_fetch import DocumentFetcher, Question
from charter.core.errors import CharterError
from charter.evidence.checkpoint import MAX_CHARACTERS, Checkpoint, parse_checkpoint
from charter.evidence.witness import Request

SECONDS = 5.0
SEEN = "charter-cosigned"
_ANY = re.compile(r".*", re.DOTALL)
_STATUSES = frozenset({200, 400, 403, 404, 409, 422, 429})


@dataclass(frozen=True, slots=True)
class Answered:
    """What a witness answered. `seen`: the head that it says it cosigned last, if it shows one; nothing is verified."""

    status: int
    text: str
    seen: Checkpoint | None = None


@dataclass(frozen=True, slots=True)
class WitnessClient:
    """Asks witnesses."""

    fetcher: DocumentFetcher = field(default_factory=DocumentFetcher)

    async def ask(self, prefix: str, request: Request) -> Answered:
        """Return what the witness at the submission prefix answers.

        Raises:
            FetchError: it cannot be reached, or answers oddly.
        """
        question = Question(
            "POST",
            {"content-type": "text/plain; charset=utf-8"},
            request.to_text().encode(),
            media=_ANY,
            limit=MAX_CHARACTERS,
            seconds=SECONDS,
            statuses=_STATUSES,
        )
        found = await self.fetcher.ask(f"{prefix}/add-checkpoint", question)
        return Answered(found.status, found.body.decode("utf-8", "replace"), _seen(found.headers.get(SEEN)))


def _seen(header: str | None) -> Checkpoint | None:
    try:
        return parse_checkpoint(base64.b64decode(header or "", validate=True).decode())
    except (binascii.Error, ValueError, CharterError):
        return None
