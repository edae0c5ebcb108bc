"""JSON lines of anybody."""

from __future__ import annotations

from charter.evidence.observation import Observation, Used, Who, count_of
from charter.evidence.vendors.record import EFFECTS, Record, effect_of, more_of, seen, text_at, texts_at


def read(record: Record) -> Observation:
    """JSON lines of anybody: `time`, `actor`, `action`, and what else of the fields below there is."""
    provider, model = text_at(record, "provider"), text_at(record, "model")
    used = Used(provider, model, count_of(record.get("input_tokens")), count_of(record.get("output_tokens")))
    kind, outcome, effect = text_at(record, "actor_kind"), text_at(record, "outcome"), text_at(record, "effect")
    action = text_at(record, "action")
    return seen(
        text_at(record, "id"),
        record.get("time"),
        Who(
            text_at(record, "actor"),
            id=text_at(record, "actor_id"),
            kind=kind if kind in ("person", "service", "agent") else "unknown",
            credential=text_at(record, "credential"),
            marks=texts_at(record, "spiffe_id"),
        ),
        action,
        service=text_at(record, "service"),
        object=text_at(record, "object"),
        outcome=outcome if outcome in ("success", "failure") else "unknown",
        error=text_at(record, "error"),
        address=text_at(record, "address"),
        effect=effect if effect in EFFECTS else effect_of(action),
        used=used if model or provider else None,
        uses_ai=bool(model or provider) or kind == "agent",
        more=more_of(record, session="session"),
    )
