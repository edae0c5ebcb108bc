"""The object a call touches: an action's template (`charge/{charge_id}`) filled from the call's arguments.

Grants and guardrails match this path as text, so a path that an upstream would read otherwise than a person does must
not come to be.

INVARIANT: no path holds a `..` segment, whether written plainly, with backslashes, percent-encoded or in look-alike
characters; nor an empty segment, a control or invisible character, or text that is not in Unicode's composed form
(NFC).
INVARIANT: only a placeholder that ends its template may bring slashes; elsewhere an argument is one segment, so it
cannot pass for the segments after it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from charter.core.errors import ErrorCode, MalformedError
from charter.policy.amount import whole_number

MAX_PATH = 1024  # characters
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_SEPARATORS = re.compile(r"[/\\]")
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
_URL = re.compile(r"(?P<start>[A-Za-z][A-Za-z0-9+.-]*://(?P<authority>[^/\\?#]*))/?(?P<path>.*)", re.DOTALL)
_NEED_HOSTS = ("http:", "https:", "ws:", "wss:", "ftp:")  # browsers take `http:///a/b` for the host `a`
_MAX_DECODINGS = 3  # how often a value may be percent-encoded over and over


def placeholders(template: str) -> tuple[str, ...]:
    """Return the arguments that `template` takes, in order."""
    return tuple(_PLACEHOLDER.findall(template))


def pieces_of(template: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what is written out in `template`, and the arguments that stand between: one less."""
    pieces = _PLACEHOLDER.split(template)
    return tuple(pieces[::2]), tuple(pieces[1::2])


def template_fault(template: str) -> str | None:
    """Return what is wrong with a template, if anything is."""
    rest = _PLACEHOLDER.sub("", template)
    if "{" in rest or "}" in rest:
        return "has a brace without its fellow"
    return "has an empty pair of braces" if "" in placeholders(template) else None


def fill_template(template: str, arguments: Mapping[str, Any]) -> str:
    """Return the object's path.

    Raises:
        MalformedError: an argument is missing, is no scalar, or would make a path that means something else to the
        upstream; the message names it, and never shows its value.
    """
    filled: list[str] = []
    end = 0
    for found in _PLACEHOLDER.finditer(template):
        name = found[1]
        value = _segment_text(name, arguments)
        is_last = found.end() == len(template)
        may_be_absolute = is_last and found.start() == 0
        _check(name, value, has_slashes=is_last, may_be_absolute=may_be_absolute)
        filled += [template[end : found.start()], value]
        end = found.end()
    path = "".join([*filled, template[end:]])
    if end and path != "." and ".." in _SEPARATORS.split(path):  # made of two parts, `{a}{b}` with two dots
        raise _malformed("the object's path would hold `..`", "name the object itself")
    if len(path) > MAX_PATH:
        raise _malformed(f"the object's path is longer than {MAX_PATH} characters", "name it more shortly")
    return path


def _segment_text(name: str, arguments: Mapping[str, Any]) -> str:
    if name not in arguments:
        raise _malformed(f"the argument `{name}` is missing", "it names the object; send it")
    value = arguments[name]
    if type(value) is bool:
        return "true" if value else "false"
    number = whole_number(value)
    if number is not None:
        return str(number)
    if type(value) is not str:
        raise _malformed(f"the argument `{name}` names the object and must be text or a whole number", "send it so")
    return value


def _check(name: str, value: str, *, has_slashes: bool, may_be_absolute: bool) -> None:
    """Refuse a value that an upstream could read as another object."""
    if not value:
        raise _malformed(f"the argument `{name}` is empty", "it names the object; send it")
    if len(value) > MAX_PATH:
        raise _malformed(f"the argument `{name}` is longer than {MAX_PATH} characters", "name the object more shortly")
    if _HIDDEN.search(value):
        raise _malformed(f"the argument `{name}` holds a control or invisible character", "remove it")
    if not unicodedata.is_normalized("NFC", value):
        raise _malformed(f"the argument `{name}` is not in Unicode's composed form", "send it normalised to NFC")
    if value == "." and may_be_absolute:
        return
    for reading in _readings(value):
        if _HIDDEN.search(reading):
            raise _malformed(f"the argument `{name}` holds an encoded control character", "remove it")
        if not has_slashes and _SEPARATORS.search(reading):
            help = "send that part alone"
            raise _malformed(f"the argument `{name}` holds a slash, and names one part of a path", help)
        _check_segments(name, _below_its_start(name, reading, may_be_absolute=may_be_absolute))


def _readings(value: str) -> list[str]:
    """Return the ways an upstream might read `value`: as it stands, in plain characters, and percent-decoded."""
    readings = [value]
    for _ in range(_MAX_DECODINGS):
        decoded = unquote(readings[-1], errors="replace")
        if decoded == readings[-1]:
            break
        readings.append(decoded)
    if not value.isascii() or len(readings) > 1:
        readings += [unicodedata.normalize("NFKC", reading) for reading in readings]
    return readings


def _below_its_start(name: str, value: str, *, may_be_absolute: bool) -> str:
    """Return the part of `value` that must be plain segments: below a leading slash, or below a URL's host."""
    url = _URL.fullmatch(value)
    if url is None or (not url["authority"] and url["start"].lower().startswith(_NEED_HOSTS)):
        return value[1:] if may_be_absolute and len(value) > 1 and value[0] in "/\\" else value
    if "@" in url["authority"] or url["start"] != url["start"].lower():
        help = "write scheme and host in small letters, without a user name"
        raise _malformed(f"the argument `{name}` is a URL that can be read as another", help)
    return url["path"].removesuffix("/") or url["authority"]


def _check_segments(name: str, value: str) -> None:
    segments = _SEPARATORS.split(value)
    if ".." in segments or "." in segments:
        raise _malformed(f"the argument `{name}` holds a `.` or `..` segment", "send the path without them")
    if "" in segments and value not in ("/", "\\"):
        help = "send the path without doubled or final slashes"
        raise _malformed(f"the argument `{name}` holds an empty segment", help)


def _malformed(detail: str, help: str) -> MalformedError:
    return MalformedError(ErrorCode.BAD_REQUEST, detail, help=help)
