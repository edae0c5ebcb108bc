"""A2A agent cards: read strictly, and brought into the one form that their signatures are over (A2A 1.0, 4.4 and 8.4).

    (1) At most 256 KiB of JSON: no member twice, no number that readers disagree about, 32 levels deep.
    (2) What the specification requires is there, and of its type; lists and texts are bounded.
    (3) The canonical form leaves out `signatures`, what is null, and what has its default value unless the
        specification requires it or marks it optional (8.4.1); the rest stands as RFC 8785 writes it.

Members that the specification does not know stay in the canonical form, so that no two different cards have one digest.

INVARIANT: nothing here is believed: a card says what its author wishes. What it says is shown, cut and cleaned.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NoReturn

from charter.core.canonical import MAX_SAFE_INTEGER, canonical, digest
from charter.core.errors import CharterError, ErrorCode, MalformedError

MAX_CARD = 256 * 1024  # bytes
MAX_DEPTH = 32
MAX_ENTRIES = 500  # in one list or object
MAX_TEXT = 16_384  # characters of one text
MAX_SIGNATURES = 8
_MAX_DIGITS = 20
_SIGNATURES = "signatures"


class _Kept(Enum):
    """When a member stands in the canonical form."""

    REQUIRED = 1  # always
    OPTIONAL = 2  # where it was written, whatever its value
    PLAIN = 3  # unless it has its default value


@dataclass(frozen=True, slots=True)
class _Member:
    """A member of a message: when it is kept, its JSON type, and the message that it or each of its entries is."""

    kept: _Kept
    type: type
    message: str | None = None
    keys: bool = False  # a map: any keys, each value of `message`


_R, _O, _P = _Kept.REQUIRED, _Kept.OPTIONAL, _Kept.PLAIN
_TEXT, _WORDS = _Member(_R, str), _Member(_R, list)
_MESSAGES: Mapping[str, Mapping[str, _Member]] = {  # specification/a2a.proto, as ProtoJSON names its fields
    "AgentCard": {
        "name": _TEXT,
        "description": _TEXT,
        "supportedInterfaces": _Member(_R, list, "AgentInterface"),
        "provider": _Member(_O, dict, "AgentProvider"),
        "version": _TEXT,
        "documentationUrl": _Member(_O, str),
        "capabilities": _Member(_R, dict, "AgentCapabilities"),
        "securitySchemes": _Member(_P, dict, "SecurityScheme", keys=True),
        "securityRequirements": _Member(_P, list, "SecurityRequirement"),
        "defaultInputModes": _WORDS,
        "defaultOutputModes": _WORDS,
        "skills": _Member(_R, list, "AgentSkill"),
        "iconUrl": _Member(_O, str),
    },
    "AgentInterface": {
        "url": _TEXT,
        "protocolBinding": _TEXT,
        "tenant": _Member(_P, str),
        "protocolVersion": _TEXT,
    },
    "AgentProvider": {"url": _TEXT, "organization": _TEXT},
    "AgentCapabilities": {
        "streaming": _Member(_O, bool),
        "pushNotifications": _Member(_O, bool),
        "extensions": _Member(_P, list, "AgentExtension"),
        "extendedAgentCard": _Member(_O, bool),
    },
    "AgentExtension": {
        "uri": _Member(_P, str),
        "description": _Member(_P, str),
        "required": _Member(_P, bool),
        "params": _Member(_O, dict),
    },
    "AgentSkill": {
        "id": _TEXT,
        "name": _TEXT,
        "description": _TEXT,
        "tags": _WORDS,
        "examples": _Member(_P, list),
        "inputModes": _Member(_P, list),
        "outputModes": _Member(_P, list),
        "securityRequirements": _Member(_P, list, "SecurityRequirement"),
    },
    "SecurityRequirement": {"schemes": _Member(_P, dict, "StringList", keys=True)},
    "StringList": {"list": _Member(_P, list)},
    "SecurityScheme": {
        "apiKeySecurityScheme": _Member(_O, dict, "APIKeySecurityScheme"),
        "httpAuthSecurityScheme": _Member(_O, dict, "HTTPAuthSecurityScheme"),
        "oauth2SecurityScheme": _Member(_O, dict, "OAuth2SecurityScheme"),
        "openIdConnectSecurityScheme": _Member(_O, dict, "OpenIdConnectSecurityScheme"),
        "mtlsSecurityScheme": _Member(_O, dict, "MutualTlsSecurityScheme"),
    },
    "APIKeySecurityScheme": {"description": _Member(_P, str), "location": _TEXT, "name": _TEXT},
    "HTTPAuthSecurityScheme": {"description": _Member(_P, str), "scheme": _TEXT, "bearerFormat": _Member(_P, str)},
    "OAuth2SecurityScheme": {
        "description": _Member(_P, str),
        "flows": _Member(_R, dict, "OAuthFlows"),
        "oauth2MetadataUrl": _Member(_P, str),
    },
    "OpenIdConnectSecurityScheme": {"description": _Member(_P, str), "openIdConnectUrl": _TEXT},
    "MutualTlsSecurityScheme": {"description": _Member(_P, str)},
    "OAuthFlows": {
        "authorizationCode": _Member(_O, dict, "AuthorizationCodeOAuthFlow"),
        "clientCredentials": _Member(_O, dict, "ClientCredentialsOAuthFlow"),
        "implicit": _Member(_O, dict, "ImplicitOAuthFlow"),
        "password": _Member(_O, dict, "PasswordOAuthFlow"),
        "deviceCode": _Member(_O, dict, "DeviceCodeOAuthFlow"),
    },
    "AuthorizationCodeOAuthFlow": {
        "authorizationUrl": _TEXT,
        "tokenUrl": _TEXT,
        "refreshUrl": _Member(_P, str),
        "scopes": _Member(_R, dict),
        "pkceRequired": _Member(_P, bool),
    },
    "ClientCredentialsOAuthFlow": {"tokenUrl": _TEXT, "refreshUrl": _Member(_P, str), "scopes": _Member(_R, dict)},
    "ImplicitOAuthFlow": {
        "authorizationUrl": _Member(_P, str),
        "refreshUrl": _Member(_P, str),
        "scopes": _Member(_P, dict),
    },
    "PasswordOAuthFlow": {
        "tokenUrl": _Member(_P, str),
        "refreshUrl": _Member(_P, str),
        "scopes": _Member(_P, dict),
    },
    "DeviceCodeOAuthFlow": {
        "deviceAuthorizationUrl": _TEXT,
        "tokenUrl": _TEXT,
        "refreshUrl": _Member(_P, str),
        "scopes": _Member(_R, dict),
    },
}
_CALLED = {str: "text", dict: "an object", list: "a list", bool: "true or false"}


@dataclass(frozen=True, slots=True)
class CardSignature:
    """One signature of a card, as it stands there: three texts of RFC 7515, none of them read."""

    protected: str
    signature: str
    header: Mapping[str, Any] = field(default_factory=dict)  # unprotected: nothing in it counts


@dataclass(frozen=True, slots=True)
class AgentCard:
    """An agent card in its canonical content."""

    content: Mapping[str, Any]
    signatures: tuple[CardSignature, ...]

    @property
    def form(self) -> bytes:
        """The canonical form: what signatures are over (8.4.1)."""
        return canonical(dict(self.content))

    @property
    def digest(self) -> str:
        """The digest of the canonical form: another signature of the same card does not change it."""
        return digest(self.form)

    @property
    def lax_form(self) -> bytes | None:
        """The form that the Python SDK of A2A signs: without empty texts, lists and objects, wherever they stand.

        None where that leaves out more than empty members that the specification requires: what is left out nobody
        signed, and a requirement of security without scopes is among what an empty value can be.
        """
        lax = _without_empty(self.content)
        if lax != _without_required(self.content, "AgentCard"):
            return None
        return canonical(lax)


def read_card(data: bytes) -> AgentCard:
    """Return the agent card that `data` spells.

    Raises:
        MalformedError: it is none; the message says what is wrong, and where.
    """
    if len(data) > MAX_CARD:
        raise MalformedError(ErrorCode.TOO_LARGE, f"the agent card is longer than {MAX_CARD // 1024} KiB")
    try:
        value = _READER.decode(data.decode())
    except (ValueError, RecursionError) as err:
        known = str(err) if isinstance(err, _UnfitError) else "is no JSON in UTF-8"
        raise _refusal("", known) from err
    if not isinstance(value, dict):
        _refuse("", "is no JSON object")
    _check_size(value)
    if "supportedInterfaces" not in value and "url" in value:
        _refuse("", "is one of A2A 0.3 or older: it has `url` and no `supportedInterfaces`", "ask for one of A2A 1.0")
    signatures = _signatures(value.pop(_SIGNATURES, None))
    content = _message(value, "AgentCard", "")
    if not content["supportedInterfaces"]:
        _refuse("supportedInterfaces", "is empty: the agent can be reached nowhere")
    card = AgentCard(content, signatures)
    try:
        card.form  # noqa: B018 - what has no canonical form is refused here
    except CharterError as err:
        raise _refusal("", f"has no canonical form: {err.detail}") from err
    return card


class _UnfitError(ValueError):
    pass


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _UnfitError("names a member twice")
    return found


def _whole(text: str) -> int:
    if len(text) > _MAX_DIGITS or abs(value := int(text)) > MAX_SAFE_INTEGER:
        raise _UnfitError("holds a number that readers disagree about")
    return value


def _fraction(text: str) -> float:
    value = float(text) if len(text) <= 2 * _MAX_DIGITS else float("inf")
    if value in (float("inf"), float("-inf")):
        raise _UnfitError("holds a number that readers disagree about")
    return value


def _constant(_text: str) -> NoReturn:
    raise _UnfitError("holds a number that is none")


_READER = json.JSONDecoder(object_pairs_hook=_pairs, parse_int=_whole, parse_float=_fraction, parse_constant=_constant)


def _check_size(card: object) -> None:
    waiting: list[tuple[object, int]] = [(card, 1)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, str) and len(value) > MAX_TEXT:
            _refuse("", f"holds a text of more than {MAX_TEXT} characters")
        if isinstance(value, dict | list):
            if depth > MAX_DEPTH or len(value) > MAX_ENTRIES:
                _refuse("", f"nests deeper than {MAX_DEPTH}, or holds more than {MAX_ENTRIES} entries in one place")
            inner = [*value.values(), *value] if isinstance(value, dict) else value
            waiting += [(each, depth + 1) for each in inner]


def _message(value: Mapping[str, Any], name: str, at: str) -> dict[str, Any]:
    """Return the canonical content of a message: its members in the form of (3), those that are unknown as they are."""
    known = _MESSAGES[name]
    found: dict[str, Any] = {}
    for key, member in known.items():
        given = value.get(key)
        if given is None:
            if member.kept is _Kept.REQUIRED:
                _refuse(at, f"has no `{key}`")
            continue
        kept = _member(given, member, f"{at}.{key}" if at else key)
        if kept or member.kept is not _Kept.PLAIN:
            found[key] = kept
    return found | {key: each for key, each in value.items() if key not in known and each is not None}


def _member(value: object, member: _Member, at: str) -> Any:  # noqa: ANN401 - any JSON value
    if not isinstance(value, member.type):
        _refuse(at, f"is not {_CALLED[member.type]}")
    if isinstance(value, list):
        return [_entry(each, member, f"{at}.{index}") for index, each in enumerate(value)]
    if isinstance(value, dict) and member.keys and member.message:
        return {key: _entry(each, member, f"{at}.{key}") for key, each in value.items()}
    return _entry(value, member, at) if member.message else value


def _entry(value: object, member: _Member, at: str) -> Any:  # noqa: ANN401
    if member.message is None:
        if not isinstance(value, str):
            _refuse(at, "is not text")
        return value
    if not isinstance(value, dict):
        _refuse(at, "is not an object")
    return _message(value, member.message, at)


def _signatures(value: object) -> tuple[CardSignature, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MAX_SIGNATURES:
        _refuse(_SIGNATURES, f"is no list of at most {MAX_SIGNATURES}")
    return tuple(_signature(each, f"{_SIGNATURES}.{index}") for index, each in enumerate(value))


def _signature(value: object, at: str) -> CardSignature:
    if not isinstance(value, dict):
        _refuse(at, "is not an object")
    extra = sorted(value.keys() - {"protected", "signature", "header"})
    if extra:
        _refuse(at, f"has the member {extra[0][:40]!a}, which has no place there")
    protected, signature, header = value.get("protected"), value.get("signature"), value.get("header") or {}
    if not isinstance(protected, str) or not isinstance(signature, str) or not isinstance(header, dict):
        _refuse(at, "has no `protected` and `signature`, both text")
    return CardSignature(protected, signature, header)


# --- the form of the Python SDK -----------------------------------------------------------------------------------


def _without_empty(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value without empty texts, lists and objects, however deep; None if nothing is left."""
    if isinstance(value, Mapping):
        kept = {key: each for key, raw in value.items() if (each := _without_empty(raw)) is not None}
        return kept or None
    if isinstance(value, list):
        return [each for raw in value if (each := _without_empty(raw)) is not None] or None
    return None if value == "" else value


def _without_required(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a message without the empty members that the specification requires, and otherwise as it is."""
    return dict(_kept_members(value, name))


def _kept_members(value: Mapping[str, Any], name: str) -> Iterator[tuple[str, Any]]:
    for key, each in value.items():
        member = _MESSAGES[name].get(key)
        kept = each
        if member is not None and member.message is not None:
            kept = _inner(each, member, member.message)
        if member is None or member.kept is not _Kept.REQUIRED or kept not in ("", [], {}):
            yield key, kept


def _inner(value: Any, member: _Member, message: str) -> Any:  # noqa: ANN401
    if isinstance(value, list):
        return [_without_required(each, message) for each in value]
    if member.keys:
        return {key: _without_required(each, message) for key, each in value.items()}
    return _without_required(value, message)


def _refuse(at: str, why: str, help: str | None = None) -> NoReturn:
    raise _refusal(at, why, help)


def _refusal(at: str, why: str, help: str | None = None) -> MalformedError:
    where = f"`{at[:120]}` of the agent card" if at else "the agent card"
    return MalformedError(ErrorCode.BAD_CARD, f"{where} {why}", help=help or "see section 4.4 of A2A 1.0")
