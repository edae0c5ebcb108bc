"""Numbers of a call as policy compares them: exact decimals, or nothing.

INVARIANT: a value that is not exactly a decimal of at most 12 digits before the point and 4 after it has no amount. It
is never rounded, so no comparison can be passed by a digit that was dropped.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any

from charter.policy.cedar_text import decimal_digits

MAX_AMOUNT = Decimal(10) ** 12  # exclusive; Cedar's decimal holds three digits more
MAX_LONG = 2**63 - 1
_SAFE_FLOAT = 2.0**53
_PLAIN = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,4})?")
_UNIT = re.compile(r"[A-Za-z%][A-Za-z0-9/%]{0,15}")

Amount = tuple[str, str | None]  # decimal digits as Cedar writes them, and the unit


def exact_decimal(value: Any) -> Decimal | None:  # noqa: ANN401 - any JSON value
    """Return `value` as a decimal if it is a number, or text that is a plain number, within bounds.

    Text counts because an upstream may read `"350.00"` as the number it looks like; `1e3`, blanks and other digits than
    ASCII's do not.
    """
    found: Decimal | None = None
    if type(value) is int:
        found = Decimal(value) if -MAX_LONG <= value <= MAX_LONG else None
    elif type(value) is float:
        found = Decimal(repr(value)) if math.isfinite(value) else None
    elif type(value) is Decimal:
        found = value if value.is_finite() else None
    elif type(value) is str and _PLAIN.fullmatch(value):
        found = Decimal(value)
    return found if found is not None and _is_within_bounds(found) else None


def _is_within_bounds(value: Decimal) -> bool:
    exponent = value.normalize().as_tuple().exponent
    return abs(value) < MAX_AMOUNT and isinstance(exponent, int) and exponent >= -4  # noqa: PLR2004 - Cedar's decimals


def whole_number(value: Any) -> int | None:  # noqa: ANN401
    """Return `value` if it is a whole number that Cedar's Long and every JSON reader hold: 5 and 5.0 are one number."""
    if type(value) is int:
        return value if -MAX_LONG <= value <= MAX_LONG else None
    if type(value) is float and math.isfinite(value) and value.is_integer() and abs(value) <= _SAFE_FLOAT:
        return int(value)
    return None


def unit_of(value: Any) -> str | None:  # noqa: ANN401
    """Return `value` if it is a unit as charters write them (`EUR`, `MB`, `%`)."""
    return value if type(value) is str and _UNIT.fullmatch(value) else None


def plain_amount(value: Any) -> Amount | None:  # noqa: ANN401
    """Return `value` as an amount without a unit; None if it is no exact one."""
    number = exact_decimal(value)
    return None if number is None else (amount_text(number), None)


def amount_text(value: Decimal) -> str:
    """Return the digits of an amount, `150.0`."""
    return decimal_digits(value + 0)  # no negative zero
