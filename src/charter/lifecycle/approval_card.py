"""The card of a call that waits for a person: who asks, what would be done, and what is different from usual.

A card is plain JSON, the same in the console, in the terminal, in the control API and in mail. Arguments are whatever
an agent was talked into: their texts stand on a card with every character visible, and as text alone; each surface
escapes them for itself.

INVARIANT: nothing of an argument is left out, except what looks like a credential; in its place stands what it is, how
long, and the beginning of its digest. Only that piece is taken out, so that nothing can be hidden beside it.
INVARIANT: only calls that were let through make something usual: trying often does not.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import statistics
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from charter.registry.approval import Approval
from charter.registry.principal import Principal
from charter.registry.seat import told

PERIOD = dt.timedelta(days=30)  # looked back
MAX_PAST = 1_000  # calls
LEAST_HOURS = 20  # calls: with fewer, no hour is unlike usual
LEAST_AMOUNTS = 5
FOLD = 200  # characters of a value that are shown at once
MAX_DEPTH = 32
MAX_SIGNS = 12
_LEAST_TOLD = 16  # characters: of what is shorter, a digest can be guessed backwards
_NAMES = re.compile(
    r"(?:.*[_.-])?(?:password|passwd|passphrase|secret|client_?secret|api_?key|access_?key|access_?token|refresh_?token"
    r"|private_?key|authorization)",
    re.IGNORECASE,
)
_SECRETS = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[A-Za-z0-9+/=\s]*(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?"
    r"|\bsk-[A-Za-z0-9_-]{16,}|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{20,}"
    r"|\bhf_[A-Za-z0-9]{20,}|\bxox[abprs]-[A-Za-z0-9-]{10,}|\bA[KS]IA[A-Z0-9]{16}\b|\bAIza[\w-]{30,}"
    r"|\beyJ[\w-]{10,}\.eyJ[\w-]*(?:\.[\w-]*)?|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class PastCall:
    """A recorded call of the same principal that was let through."""

    at: dt.datetime
    system: str
    action: str
    object: str
    amounts: Mapping[str, tuple[Decimal, str]] = field(default_factory=dict)  # argument -> how much of which unit


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of a principal's last days, and of the call at hand."""

    calls: Sequence[PastCall] = ()
    amounts: Mapping[str, tuple[Decimal, str]] = field(default_factory=dict)  # of the call at hand
    approved: Sequence[Approval] = ()  # the same principal's, spent; newest first


def card_of(approval: Approval, principal: Principal | None, past: Past, denied: str | None = None) -> dict[str, Any]:
    """Return the card of `approval`, which `principal` asks for. `denied` is why a yes would change nothing by now."""
    call, asked = approval.call, approval.call.get("arguments") or {}
    chain = call.get("chain") or {}
    told_chain = [str(each.get("name")) for each in chain.get("parties", ())]
    return {
        "asks": {
            "principal": visible(str(call["principal"])),
            "kind": principal.kind.value if principal else None,
            "owner": f"{principal.owner_person} ({principal.owner_team})" if principal else None,
            "chain": " → ".join(visible(each) for each in told_chain) or "by itself",
            "purpose": visible(str(chain["purpose"])) if chain.get("purpose") else None,
            "started_by": visible(str(chain["initiator"])) if chain.get("initiator") else None,
        },
        "does": {name: visible(str(call.get(name, ""))) for name in ("action", "system", "object", "effect", "tool")},
        "arguments": [argument_line(name, value, past.amounts) for name, value in asked.items()],
        "denied": visible(denied) if denied is not None else None,
        "held": [visible(str(each)) for each in call.get("why", ())],
        "needs": told(approval.missing()) if approval.missing() else "",
        "unusual": unusual(approval, past)[:MAX_SIGNS],
        "usual": _basis(past),
    }


def argument_line(name: str, value: object, amounts: Mapping[str, tuple[Decimal, str]]) -> dict[str, Any]:
    """Return how one argument stands on a card."""
    text = _written(masked(value, name=name))
    line: dict[str, Any] = {"name": visible(name), "value": text}
    if name in amounts:
        number, unit = amounts[name]
        line["amount"] = f"{number.normalize():,f} {visible(unit)}".strip()
    if len(text) > FOLD or text.count("\n") > 8:  # noqa: PLR2004 - what a small screen shows
        line["folded"] = text[: FOLD // 2].split("\n")[0] + f" … ({len(text):,} characters in all)"
    if _mixes_scripts(value):
        line["note"] = "mixes letters of different scripts, which can look alike"
    return line


def masked(value: object, *, name: str = "", depth: int = 0) -> Any:  # noqa: ANN401 - any JSON value
    """Return a JSON value with what looks like credentials taken out of it."""
    if depth > MAX_DEPTH:
        return value
    if isinstance(value, Mapping):
        return {key: masked(each, name=str(key), depth=depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [masked(each, name=name, depth=depth + 1) for each in value]
    if not isinstance(value, str) or not value:
        return value
    if _NAMES.fullmatch(name) and not any(character.isspace() for character in value):
        return _mask(value)
    return _SECRETS.sub(lambda found: _mask(found[0]), value)


def _mask(secret: str) -> str:
    digest = hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    is_told = len(secret) >= _LEAST_TOLD
    return f"[masked: {len(secret)} characters{f', sha256 {digest}…' if is_told else ''}]"


def visible(text: str) -> str:
    """Return `text` with each character that cannot be seen, or that moves others, written out as U+XXXX."""
    return "".join(each if _can_be_seen(each) else f"⟨U+{ord(each):04X}⟩" for each in text)


def _can_be_seen(character: str) -> bool:
    return character in "\n\t" or character == " " or unicodedata.category(character)[0] not in "CZ"


def _written(value: object) -> str:
    return visible(value) if isinstance(value, str) else visible(_json(value))


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _mixes_scripts(value: object) -> bool:
    if not isinstance(value, str) or value.isascii():
        return False
    return any(len({_script(each) for each in word if each.isalpha()}) > 1 for word in re.findall(r"\w+", value))


def _script(letter: str) -> str:
    return unicodedata.name(letter, "?").split(" ", 1)[0]


def unusual(approval: Approval, past: Past) -> list[dict[str, str]]:
    """Return what sets a call apart from what its principal did before, the weightiest first."""
    call = approval.call
    system, action, place = str(call["system"]), str(call.get("action")), str(call.get("object"))
    alike = [each for each in past.calls if (each.system, each.action) == (system, action)]
    signs, within = [], _within(past)
    if not past.calls:
        signs.append(("nothing", "nothing like it before: no call of this principal was let through in 30 days"))
    elif not any(each.system == system for each in past.calls):
        signs.append(("system", f"the first call to {system} {within}"))
    elif not alike:
        signs.append(("action", f"the first {action} on {system} {within}"))
    elif not any(each.object == place for each in alike):
        signs.append(_new_object(place, alike))
    signs += _amounts(past.amounts, alike) + _counterparties(call, past.approved) + _hour(approval.asked_at, past.calls)
    return [{"sign": sign, "text": visible(text)} for sign, text in signs]


def _new_object(place: str, alike: Sequence[PastCall]) -> tuple[str, str]:
    folder, known = place.rpartition("/")[0], {each.object.rpartition("/")[0] for each in alike}
    if folder not in known:
        return "place", f"the first time in {folder or place}: {len(alike):,} such calls went elsewhere"
    return "object", f"the first time on {place}, like {len({e.object for e in alike}):,} other objects before"


def _amounts(here: Mapping[str, tuple[Decimal, str]], alike: Sequence[PastCall]) -> list[tuple[str, str]]:
    signs = []
    for name, (number, unit) in here.items():
        before = [each.amounts[name][0] for each in alike if each.amounts.get(name, (0, None))[1] == unit]
        if len(before) < LEAST_AMOUNTS:
            if alike and not before:
                signs.append(("unit", f"{name}: the first time in {unit}"))
            continue
        middle, most = statistics.median(before), max(before)
        if number > most:
            signs.append(("amount", f"{name}: {_number(number)} {unit}, more than ever: {_spread(middle, most, unit)}"))
        elif middle > 0 and number >= 3 * middle:
            signs.append(("amount", f"{name}: {_number(number)} {unit}, much: {_spread(middle, most, unit)}"))
    return signs


def _spread(middle: Decimal, most: Decimal, unit: str) -> str:
    return f"usually {_number(middle)}, at most {_number(most)} {unit}"


def _number(number: Decimal) -> str:
    return f"{number.normalize():,f}"


def _counterparties(call: Mapping[str, Any], approved: Sequence[Approval]) -> list[tuple[str, str]]:
    """Return which texts of a call were in none of the same calls that people let through before."""
    key = (call["system"], call.get("action"))
    before = [each.call for each in approved if (each.call.get("system"), each.call.get("action")) == key]
    signs = []
    for name, value in (call.get("arguments") or {}).items() if before else ():
        known = [said.get("arguments", {}).get(name) for said in before]
        if isinstance(value, str) and value not in known and f"{value}" not in str(call.get("object", "")):
            count = f"{len(before):,} such call{'s' if len(before) > 1 else ''}"
            signs.append(("argument", f"{name}: not this in the {count} approved before"))
    return signs


def _hour(at: dt.datetime, calls: Sequence[PastCall]) -> list[tuple[str, str]]:
    if len(calls) < LEAST_HOURS:
        return []
    hours = Counter(each.at.hour for each in calls)
    if any(hours[(at.hour + step) % 24] for step in (-1, 0, 1)):
        return []
    return [("hour", f"at {at:%H:%M} UTC: none of {len(calls):,} calls came within an hour of that")]


def _basis(past: Past) -> str:
    count = len(past.calls)
    if count >= MAX_PAST:
        return f"compared with the last {count:,} calls that were let through"
    return f"compared with {count:,} call{'' if count == 1 else 's'} let through in {PERIOD.days} days"


def _within(past: Past) -> str:
    return f"in its last {MAX_PAST:,} calls" if len(past.calls) >= MAX_PAST else f"in {PERIOD.days} days"


def plain_card(card: Mapping[str, Any]) -> str:
    """Return a card as plain text, where no value can pose as a line of the card: its own lines are set in."""
    asks, does = card["asks"], card["does"]
    lines = [f"A yes would change nothing: {_inline(card['denied'])}"] if card["denied"] else []
    lines += [
        f"Who asks:    {_inline(asks['principal'])}" + (f", owned by {asks['owner']}" if asks["owner"] else ""),
        f"On behalf:   {_inline(asks['chain'])}" + (f", for {_inline(asks['purpose'])}" if asks["purpose"] else ""),
        f"Would do:    {_inline(does['action'])} on {_inline(does['system'])} ({_inline(does['effect'])})",
        f"Object:      {_inline(does['object'])}",
        "Arguments:   " + ("" if card["arguments"] else "none"),
    ]
    for each in card["arguments"]:
        said = "\n".join(f"    | {line}" for line in each["value"].split("\n"))
        lines += [f"  {_inline(each['name'])}" + (f" = {each['amount']}" if "amount" in each else ""), said]
        lines += [f"    ! {each['note']}"] if "note" in each else []
    lines += ["Different from usual:"]
    lines += [f"  * {_inline(each['text'])}" for each in card["unusual"]] or ["  nothing"]
    lines += [f"  ({card['usual']})", "Held because:", *(f"  {_inline(each)}" for each in card["held"])]
    return "\n".join(lines)


def _inline(text: object) -> str:
    return " ".join(str(text).split())
