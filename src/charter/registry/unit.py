"""Units of quantities: sizes and times in one unit each, so that `5 MB` and `5000 kB` are one amount.

    sizes    B, kB, MB, GB, TB, KiB, MiB, GiB, TiB    told in kB
    times    ms, s, min, h, d                         told in s
    money    the codes of ISO 4217                    each by itself: nothing is converted; `eur` is `EUR`

Any other word is a unit too, by itself. Conversions are exact: what has no exact form in the unit it is told in is no
amount at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache

_SIZES = {
    "B": Decimal("0.001"),
    "kB": Decimal(1),
    "MB": Decimal(1000),
    "GB": Decimal(1000) ** 2,
    "TB": Decimal(1000) ** 3,
    "KiB": Decimal("1.024"),
    "MiB": Decimal("1.024") * 1024,
    "GiB": Decimal("1.024") * 1024**2,
    "TiB": Decimal("1.024") * 1024**3,
}
_TIMES = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "min": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86_400),
}
FACTORS: Mapping[str, tuple[str, Decimal]] = {
    **{unit: ("kB", factor) for unit, factor in _SIZES.items()},
    **{unit: ("s", factor) for unit, factor in _TIMES.items()},
}
"""Unit -> the unit it is told in, and how many of that it is."""

# ISO 4217, the codes of currencies and funds in use.
CURRENCIES = frozenset({
    "AED", "AFN", "ALL", "AMD", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BHD", "BIF", "BMD", "BND",
    "BOB", "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD", "CDF", "CHF", "CLP", "CNY", "COP", "CRC", "CUP", "CVE",
    "CZK", "DJF", "DKK", "DOP", "DZD", "EGP", "ERN", "ETB", "EUR", "FJD", "FKP", "GBP", "GEL", "GHS", "GIP", "GMD",
    "GNF", "GTQ", "GYD", "HKD", "HNL", "HTG", "HUF", "IDR", "ILS", "INR", "IQD", "IRR", "ISK", "JMD", "JOD", "JPY",
    "KES", "KGS", "KHR", "KMF", "KPW", "KRW", "KWD", "KYD", "KZT", "LAK", "LBP", "LKR", "LRD", "LSL", "LYD", "MAD",
    "MDL", "MGA", "MKD", "MMK", "MNT", "MOP", "MRU", "MUR", "MVR", "MWK", "MXN", "MYR", "MZN", "NAD", "NGN", "NIO",
    "NOK", "NPR", "NZD", "OMR", "PAB", "PEN", "PGK", "PHP", "PKR", "PLN", "PYG", "QAR", "RON", "RSD", "RUB", "RWF",
    "SAR", "SBD", "SCR", "SDG", "SEK", "SGD", "SHP", "SLE", "SOS", "SRD", "SSP", "STN", "SVC", "SYP", "SZL", "THB",
    "TJS", "TMT", "TND", "TOP", "TRY", "TTD", "TWD", "TZS", "UAH", "UGX", "USD", "UYU", "UZS", "VES", "VND", "VUV",
    "WST", "XAF", "XCD", "XCG", "XOF", "XPF", "YER", "ZAR", "ZMW", "ZWG",
})  # fmt: skip
_WORDS = {"euro": "EUR", "dollar": "USD", "pound": "GBP", "yen": "JPY", "franc": "CHF", "rupee": "INR"}
_CODE = 3  # letters of a currency's code


@lru_cache(maxsize=1024)
def told_in(unit: str | None) -> str | None:
    """Return the unit that amounts in `unit` are told in."""
    if unit is None:
        return None
    if unit in FACTORS:
        return FACTORS[unit][0]
    return unit.upper() if len(unit) == _CODE and unit.upper() in CURRENCIES else unit


def normal(value: Decimal, unit: str | None) -> tuple[Decimal, str | None]:
    """Return an amount in the unit it is told in."""
    factor = FACTORS.get(unit or "")
    return (value * factor[1] if factor else value), told_in(unit)


def in_unit(value: Decimal, unit: str | None) -> Decimal:
    """Return an amount that is told in the unit of `unit`, in `unit` itself."""
    factor = FACTORS.get(unit or "")
    return value / factor[1] if factor else value


def is_doubtful(unit: str) -> bool:
    """Whether `unit` looks like a currency and is none: `EUX`, or `Euro` for `EUR`."""
    is_code = len(unit) == _CODE and unit.isupper() and unit.isalpha() and unit not in CURRENCIES
    return is_code or meant_by(unit) is not None


def meant_by(unit: str) -> str | None:
    """Return the code of the currency that a word for it means; None: it is no such word."""
    return _WORDS.get(unit.lower().removesuffix("s"))
