"""Forms as the OAuth endpoints take them: read strictly, so that no two readers see different parameters.

INVARIANT: a parameter that is there twice is refused (RFC 6749 section 3.2), also when one of the two is spelt with
percent signs; what is no well-formed UTF-8 form is refused whole; a parameter without a value is as if left out.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from charter.core.errors import ErrorCode, MalformedError
from charter.server.gateway_http import Head, HttpRefusal, Receive, read_body

MAX_FORM = 16 * 1024  # bytes: an assertion of 8 KiB and the rest
MAX_FIELDS = 32
Form = dict[str, str]
_STRAY_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")


async def read_form(head: Head, receive: Receive) -> Form:
    """Return the parameters of a request's body.

    Raises:
        HttpRefusal: the body is too large, too slow or breaks off.
        MalformedError: it is no form, or says something twice.
    """
    kind, _, parameters = head.headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if kind.strip().lower() != "application/x-www-form-urlencoded" or charset not in ("", "utf-8"):
        raise HttpRefusal(415, "the body must be `application/x-www-form-urlencoded` in UTF-8")
    if head.headers.get("content-encoding", "identity").lower() != "identity":
        raise HttpRefusal(415, "the body must not be compressed")
    if head.query:
        raise MalformedError(
            ErrorCode.BAD_REQUEST, "parameters stand in the URL", help="send them in the body, where no log keeps them"
        )
    return parse_form(await read_body(head, receive, MAX_FORM))


def parse_form(body: bytes) -> Form:
    """Return the parameters that `body` spells, those without a value left out.

    Raises:
        MalformedError: it is no form, or names a parameter twice.
    """
    if _STRAY_PERCENT.search(body):
        raise MalformedError(ErrorCode.BAD_REQUEST, "the form has a `%` that escapes nothing", help="write it as %25")
    try:
        pairs = parse_qsl(
            body.decode("ascii"),  # whatever is not ASCII has to be escaped
            keep_blank_values=True,
            strict_parsing=bool(body),
            max_num_fields=MAX_FIELDS,
            errors="strict",
        )
    except ValueError as err:
        raise MalformedError(
            ErrorCode.BAD_REQUEST,
            "the body is no well-formed form, or has too many parameters",
            help=f"send at most {MAX_FIELDS} as name=value, joined by &",
        ) from err
    form: Form = {}
    for name, value in pairs:
        if name in form:
            code = ErrorCode.BAD_TARGET if name == "resource" else ErrorCode.BAD_REQUEST
            raise MalformedError(code, f"the parameter {name[:40]!a} is there more than once", help="send it once")
        form[name] = value
    return {name: value for name, value in form.items() if value}


def needed(form: Form, name: str, code: ErrorCode = ErrorCode.BAD_REQUEST) -> str:
    """Return a parameter that must be there.

    Raises:
        MalformedError: it is not.
    """
    try:
        return form[name]
    except KeyError:
        raise MalformedError(code, f"the parameter `{name}` is missing", help="send it in the body") from None
