"""Forms and queries: untrusted bytes to a small dictionary, or a clear refusal.

One field, one value: a name that comes twice is refused, because whoever checks the first and uses the second is
fooled.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from charter.core.errors import ErrorCode, MalformedError
from charter.core.values import parse_line

MAX_FIELDS = 16
MAX_NAME = 40
MAX_VALUE = 4096
MAX_REASON = 1000
MAX_PERSON = 254


def parse_pairs(data: bytes) -> dict[str, str]:
    """Return the fields of an `application/x-www-form-urlencoded` body or of a query (WHATWG URL, section 5.1).

    Raises: MalformedError: it is not of that form, not UTF-8, repeats a name, or exceeds 16 fields or 4,096
    characters a value.
    """
    if not data:
        return {}
    try:
        pairs = parse_qsl(
            data.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError as err:  # UnicodeDecodeError is one too
        raise MalformedError(
            ErrorCode.BAD_REQUEST, "the form or query cannot be read", help="go back, reload the page and try again"
        ) from err
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise MalformedError(ErrorCode.BAD_REQUEST, "a field stands twice in the form or query")
    for name, value in pairs:
        if len(name) > MAX_NAME or len(value) > MAX_VALUE:
            raise MalformedError(ErrorCode.TOO_LARGE, f"the field `{name[:MAX_NAME]}` is too long")
    return fields


def one_line(fields: dict[str, str], name: str, *, longest: int) -> str:
    """Return the field `name` as one line of visible text.

    Raises:
        MalformedError: it is missing, empty, too long, or holds control, zero-width or direction-changing characters.
    """
    return parse_line(fields.get(name, ""), name, longest=longest)
