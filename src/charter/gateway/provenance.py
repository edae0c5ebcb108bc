"""Where the values of a call came from: the person's own words, what was read since, or nowhere that was seen.

Texts are kept by origin, as they came; a value is looked for in them, letter by letter, as a whole word. Nothing is
guessed: a value that a model made up, joined or encoded is found nowhere, and counts as such.

INVARIANT: what could have been written by anyone outranks what merely stood in a record too: a value that strangers
named is theirs, unless the person or the organisation's directory named it as well.
INVARIANT: texts are bounded; where some were dropped, a value that is not found may have stood there, and counts as
untrusted.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from charter.registry.flow import Origin

MAX_TEXT = 65_536  # characters of one text that is kept
MAX_TEXTS = 262_144  # characters of one origin in one session
MAX_LEAVES = 20_000  # of one result
MAX_DEPTH = 32
MAX_HANDLES = 20_000
MAX_PARTS = 64  # of a value that is joined
MAX_NAME = 80  # characters of what names an object
QUOTED = 24  # characters of a text that nobody writes alike by chance
COUNTER = 3  # digits of a number that many texts hold
COPIED = 3  # spaces in a title that nobody writes alike by chance
MAX_COPIED = 15  # … and more make it prose, which is quoted
PROSE = 200  # characters from which on a value is prose: what it names is looked at, not the whole
_JOINTS = "@._-+/:%&=#~"
_RUN_ON = re.compile(r"([.!?])(?=[A-Z][a-z]+\s)")  # a sentence that begins without a space
_WORD = re.compile(r"[^\W\d_]{1,24}|\d{1,3}")  # what many texts hold by chance
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d{1,18}(?:,\d{3})*(?:\.\d{1,9})?(?![\w])")
_CLOCK = r"\d{1,2}(?::\d{2}){0,2}(?:\.\d{1,9})?(?: ?[ap]\.?m\.?)?"
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"
_DATE = (
    r"(?:\d{4}[-/.]\d{1,2}(?:[-/.]\d{1,2})?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}"
    rf"|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?(?:,? \d{{4}})?|\d{{1,2}}(?:st|nd|rd|th)?\.? {_MONTH}(?:,? \d{{4}})?)"
)
_WHEN = re.compile(
    rf"{_DATE}(?:(?:t|,? (?:at )?){_CLOCK} ?(?:z|utc|gmt|[+-]\d{{2}}:?\d{{2}})?)?"
    r"|\d{1,2}:\d{2}(?::\d{2})?(?: ?[ap]\.?m\.?)?|\d{1,2} ?[ap]\.?m\.?",
    re.IGNORECASE,
)
_UNIT = r"[$\u20ac\u00a3\u00a5%]"
_MEASURE = re.compile(rf"{_UNIT}?(\d{{1,9}}(?:,\d{{3}})*(?:\.\d{{1,9}})?) ?(?:{_UNIT}|[a-z\u00b0]{{1,3}})?")
_LISTED = re.compile(r"\s?[,;\n]\s?")
_SIGILS = "@#"
_COUNTS = frozenset(map(Decimal, range(3)))  # none, one and two stand in any text
_ID = re.compile(r"|.*(?:id|ids|Id|Ids|ID|no|nr|number|key|index)_?")  # arguments that numbers are names for
QUOTES = "'\"`\u2018\u2019\u201c\u201d"
_PASTED = re.compile(r"^[\[{]|['\"]\s?:|\b(?:observation|subject|from|to|body)\s?:")
MAIL = r"[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+"
ACCOUNT = r"\b[A-Za-z]{2}\d{2}[A-Za-z0-9]{10,30}\b"  # ISO 13616
_NAMING = re.compile(
    MAIL + r"|(?:https?://|www\.)[^\s<>\"')\]]{1,512}"  # of pages
    r"|\b(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+(?:com|net|org|io|info|biz|dev|app|xyz|co|ru|cn|me|ai|[a-z]{2})\b(?:/[^\s<>\"')\]]{0,512})?"
    rf"|{ACCOUNT}"
    r"|\b\d(?:[ -]?\d){7,18}\b",  # numbers of phones and cards
    re.IGNORECASE,
)


class Found(StrEnum):
    """Where a value came from."""

    REQUEST = "request"  # the person's own words, or a person's yes to it
    EARLIER = "earlier"  # the same argument of a call that was made before anything was read that strangers wrote
    TRUSTED = "trusted"
    INTERNAL = "internal"
    UNTRUSTED = "untrusted"
    POINTED = "pointed"  # untrusted, and the only one in what the person's request points at (pointing.py)
    NOWHERE = "nowhere"
    COMPUTED = "computed"  # a number that stood nowhere
    PLAIN = "plain"  # says nothing: true, false, null, nothing, a time


def normal(text: str) -> str:
    """Return a text as it is compared: one form of each letter, no case, single spaces, sentences apart."""
    return " ".join(_RUN_ON.sub(r"\1 ", unicodedata.normalize("NFKC", text[:MAX_TEXT])).casefold().split())


def numbers_in(text: str) -> Iterator[Decimal]:
    """Yield the numbers that stand in a text."""
    for found in _NUMBER.finditer(text):
        number = decimal_of(found[0].replace(",", ""))
        if number is not None:
            yield number


def named_in(text: str) -> Iterator[str]:
    """Yield what a text names that leads somewhere: addresses of mail and pages, accounts, long numbers."""
    for found in _NAMING.finditer(text[:MAX_TEXT]):
        yield found[0].rstrip(".,;:!?")


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - any JSON value
    """Yield the scalars of a JSON value, each with the name of the field that holds it; names of fields too.

    At most MAX_LEAVES, and none below MAX_DEPTH; both are cut off silently here and counted by `Texts`.
    """
    stack: list[tuple[str, Any, int]] = [(name, value, 0)]
    count = 0
    while stack and count < MAX_LEAVES:
        at, each, depth = stack.pop()
        if isinstance(each, Mapping) and depth < MAX_DEPTH:
            stack.extend((str(key), inner, depth + 1) for key, inner in reversed(list(each.items())))
        elif isinstance(each, list | tuple) and depth < MAX_DEPTH:
            stack.extend((at, inner, depth + 1) for inner in reversed(each))
        elif not isinstance(each, Mapping | list | tuple):
            count += 1
            yield at, each


@dataclass(slots=True)
class Texts:
    """The texts of one origin in one session."""

    parts: list[str] = field(default_factory=list)
    numbers: set[Decimal] = field(default_factory=set)
    size: int = 0
    dropped: bool = False  # whether some text was not kept

    def add(self, text: str) -> None:
        """Keep a text, if it is there not yet and there is room."""
        kept = normal(text)
        if not kept or kept in self.parts[-8:]:
            return
        if len(text) > MAX_TEXT or self.size + len(kept) > MAX_TEXTS:
            self.dropped = True
            if self.size >= MAX_TEXTS:
                return
            kept = kept[: MAX_TEXTS - self.size]
        self.parts.append(kept)
        self.size += len(kept)
        self.numbers.update(numbers_in(kept))

    def has(self, wanted: str) -> bool:
        """Return whether a normal text stands in one of them as a whole word."""
        return any(_stands_in(wanted, part) for part in self.parts)

    def holds_part_of(self, text: str) -> bool:
        """Return whether one of them, if it is more than a word, stands in `text`, and not as a name of something.

        A name is short, and one word or in quotes; none stands among the names of fields, as in a pasted answer.
        """
        said = normal(text)
        is_pasted = _PASTED.search(said) is not None
        return any(
            len(part) >= QUOTED and part in said and (is_pasted or not _names(part, said)) for part in self.parts
        )

    def names(self, wanted: str) -> bool:
        """Return whether a short text is named in one of them: in quotes, or as a number or name of something."""
        called = re.compile(
            rf"(?:\b(?:id|ids|no|nr|number|key|name|named|called)\b\W{{0,4}}|[#'\"`])\s?{re.escape(wanted)}(?!\w)"
        )
        return any(called.search(part) for part in self.parts)


def _names(part: str, said: str) -> bool:
    """Whether a stranger's text stands in a person's words as the name of something."""
    if len(part) > MAX_NAME:
        return False
    at = said.find(part)
    before, behind = said[at - 1 : at], said[at + len(part) : at + len(part) + 1]
    is_quoted = bool(before) and before in QUOTES and bool(behind) and behind in QUOTES
    return len(said) > len(part) and (" " not in part or is_quoted)


def _stands_in(wanted: str, text: str) -> bool:
    at = text.find(wanted)
    while at >= 0:
        end = at + len(wanted)
        ends_a_path = at > 0 and text[at - 1] == "/"  # a file is named by the end of its path as well
        if not ((not ends_a_path and _goes_on(text, at - 1, -1)) or _goes_on(text, end, 1)):
            return True
        at = text.find(wanted, at + 1)
    return False


def _goes_on(text: str, at: int, step: int) -> bool:
    """Whether a word goes on at a place: a letter or digit stands there, or behind a sign that joins."""
    if not 0 <= at < len(text):
        return False
    if text[at].isalnum() or text[at] == "_":
        return True
    beyond = at + step
    return text[at] in _JOINTS and 0 <= beyond < len(text) and text[beyond].isalnum()


@dataclass(frozen=True, slots=True)
class Use:
    """What a value is used for."""

    argument: str = ""  # its name
    reads: bool = False  # whether the call changes nothing
    final: bool = False  # whether it cannot be undone


PLAINLY = Use()


@dataclass(slots=True)
class Known:
    """What one session has seen, by origin."""

    request: Texts = field(default_factory=Texts)
    trusted: Texts = field(default_factory=Texts)
    internal: Texts = field(default_factory=Texts)
    untrusted: Texts = field(default_factory=Texts)
    handles: dict[str, frozenset[str] | None] = field(default_factory=dict)  # whole internal values: what they may name
    earlier: set[tuple[str, str]] = field(
        default_factory=set
    )  # argument, whole value: of calls before any stranger's word

    def of(self, origin: Origin) -> Texts:
        """Return the texts of an origin."""
        match origin:
            case Origin.TRUSTED:
                return self.trusted
            case Origin.INTERNAL:
                return self.internal
            case Origin.UNTRUSTED:
                return self.untrusted

    def take_in(
        self,
        result: Any,  # noqa: ANN401 - any JSON value
        origin: Origin,
        fields: Mapping[str, Origin],
        names: frozenset[str] | None = None,
    ) -> frozenset[Origin]:
        """Keep what a result says, each field under its own origin; return the origins that came in.

        `names` are the arguments that its values may be given for, as objects of the system itself, whoever named them;
        None: any, for those that are internal.
        """
        seen: set[Origin] = set()
        for name, value in leaves(result):
            if value is None or isinstance(value, bool) or value == "":
                continue
            its = fields.get(name, origin)
            seen.add(its)
            told = value if isinstance(value, str) else _told(value)
            is_name = names is not None and len(told) <= MAX_NAME and not any(ch.isspace() for ch in told)
            if its is Origin.INTERNAL or is_name:
                self._keep_handle(normal(told), names)
                if "/" in told and "://" not in told and not any(ch.isspace() for ch in told):
                    self._keep_handle(normal(told.rstrip("/").rpartition("/")[2]), names)  # a path's own name
            if not (is_name and its is Origin.UNTRUSTED):  # a name that stands by itself says nothing besides
                self.of(its).add(told)
        return frozenset(seen)

    def keep_earlier(self, arguments: Mapping[str, Any]) -> None:
        """Keep the values of a call that was made before anything was read that strangers wrote."""
        for name, given in arguments.items():
            for _, value in leaves(given):
                if value is None or isinstance(value, bool) or len(self.earlier) >= MAX_HANDLES:
                    continue
                told = value if isinstance(value, str) else _told(value)
                if len(told) <= PROSE:
                    self.earlier.add((name, normal(told)))

    def _keep_handle(self, handle: str, names: frozenset[str] | None) -> None:
        if not handle or len(handle) > PROSE or (len(self.handles) >= MAX_HANDLES and handle not in self.handles):
            return
        before = self.handles.get(handle, frozenset())
        self.handles[handle] = None if before is None or names is None else before | names

    def trace(self, value: Any, use: Use = PLAINLY, own: Iterable[str] = ()) -> Found:  # noqa: ANN401 - a JSON scalar
        """Return where a value came from. `own` are patterns of addresses that are the organisation's own."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            number = decimal_of(str(value))
            return Found.COMPUTED if self._is_by_chance(number, use) else self._number(number)
        text = "" if value is None or isinstance(value, bool) else normal(str(value))
        if len(text) > PROSE:
            return self._prose(str(value), own)
        if not text or _WHEN.fullmatch(text):
            return self._text(text, use) or Found.PLAIN if text else Found.PLAIN
        if any(_is_own(text, pattern) for pattern in own):
            return Found.TRUSTED
        return self._text(text, use) or self._joined(text, use, own) or self._measured(text) or self._unfound()

    def _joined(self, text: str, use: Use, own: Iterable[str]) -> Found | None:
        """Return where the parts of a value came from that stands nowhere as a whole; None if it is made of no such.

        Those are a list in one text, a path, and a name behind its sign, as in `@ana`: the worst of its parts counts.
        """
        if text[0] in _SIGILS and len(text) > 1:
            parts = [text[1:]]
        elif _LISTED.search(text):
            parts = [each for each in _LISTED.split(text) if each]
        elif "/" in text and "//" not in text and "@" not in text:
            parts = [each for each in text.split("/") if each not in ("", ".", "~")]
        else:
            return None
        if not parts or len(parts) > MAX_PARTS or parts == [text] or ".." in parts:
            return None
        found = [self.trace(each, use, own) for each in parts]
        return max(found, key=_WORSE.index) if all(each in _WORSE for each in found) else None

    def _measured(self, text: str) -> Found | None:
        """Return where the number came from that a text is, with its unit or without; None if it is none."""
        number = decimal_of(text)
        if number is None:
            measure = _MEASURE.fullmatch(text)
            number = decimal_of(measure[1].replace(",", "")) if measure else None
        return self._number(number) if number is not None else None

    def _text(self, text: str, use: Use) -> Found | None:
        bare = text.removeprefix("https://").removeprefix("http://").rstrip("/")
        spelt = [each for each in dict.fromkeys((text, bare)) if each]
        if len(text) <= COUNTER and text.isdigit() and self.untrusted.names(text) and not self.request.names(text):
            return Found.UNTRUSTED  # a number that short stands in many a request by chance
        for texts, found in ((self.request, Found.REQUEST), (self.trusted, Found.TRUSTED)):
            if any(texts.has(each) for each in spelt):
                return found
        return Found.EARLIER if (use.argument, text) in self.earlier else self._read(text, spelt, use)

    def _read(self, text: str, spelt: list[str], use: Use) -> Found | None:
        """Return where a value came from that the person did not say and no directory; None if it was seen nowhere."""
        names = self.handles.get(text, frozenset())
        is_handle = names is None or use.argument in names
        by_chance = is_handle and _WORD.fullmatch(text) and (text.isdigit() or not use.final)
        if any(self.untrusted.names(each) if by_chance else self.untrusted.has(each) for each in spelt):
            return Found.UNTRUSTED
        if is_handle:
            return Found.INTERNAL
        if any(self.internal.has(each) for each in spelt):
            return Found.INTERNAL if use.reads else Found.UNTRUSTED
        return None

    def carried(self, value: Any, own: Iterable[str] = ()) -> Found:  # noqa: ANN401 - any JSON scalar
        """Return the worst origin of what a text names, or of all of it if strangers wrote just that; else PLAIN."""
        if not isinstance(value, str):
            return Found.PLAIN
        whole = normal(value)
        if (
            "\n" not in value
            and COPIED <= whole.count(" ") <= MAX_COPIED
            and self._text(whole, Use(reads=True)) is Found.UNTRUSTED
        ):
            return Found.UNTRUSTED
        return self._prose(value, own)

    def _prose(self, text: str, own: Iterable[str]) -> Found:
        worst = Found.PLAIN
        for named in named_in(text):
            if _WHEN.fullmatch(named):
                continue
            found = self.trace(named, Use(reads=True), own)
            if found in (Found.UNTRUSTED, Found.NOWHERE):
                return found
            worst = found if found is not Found.PLAIN else worst
        return worst

    def _is_by_chance(self, number: Decimal | None, use: Use) -> bool:
        """Whether a number is one that any text holds, given for a count, and strangers named nothing by it."""
        if number not in _COUNTS or _ID.fullmatch(use.argument):
            return False
        return not self.untrusted.dropped and not self.untrusted.names(f"{number:f}")

    def _number(self, number: Decimal | None) -> Found:
        """Return where a number came from; one that stands nowhere was computed, and names nobody."""
        ways = (self.request, Found.REQUEST), (self.trusted, Found.TRUSTED), (self.internal, Found.INTERNAL)
        for texts, found in (*ways, (self.untrusted, Found.UNTRUSTED)):
            if number in texts.numbers:
                return found
        return Found.UNTRUSTED if self.untrusted.dropped else Found.COMPUTED

    def _unfound(self) -> Found:
        return Found.UNTRUSTED if self.untrusted.dropped else Found.NOWHERE


_WORSE = (Found.PLAIN, Found.COMPUTED, Found.REQUEST, Found.TRUSTED, Found.EARLIER, Found.INTERNAL)


def _is_own(text: str, pattern: str) -> bool:
    head, star, tail = pattern.casefold().partition("*")
    return (text.startswith(head) and text.endswith(tail) and len(text) > len(pattern)) if star else text == head


def _told(value: Any) -> str:  # noqa: ANN401 - a number
    number = decimal_of(str(value))
    return f"{number:f}" if number is not None else str(value)


def decimal_of(text: str) -> Decimal | None:
    """Return the number that a text is, in its shortest form; None if it is none, or none that anybody means."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number.normalize() if number.is_finite() and abs(number.adjusted()) <= 18 else None  # noqa: PLR2004
