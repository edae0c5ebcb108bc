"""Model providers' keys written into files: found by their form, or by the name they are given, and never shown.

A form of its own (`sk-ant-api03-…`) is enough. What could be any other key (Google's `AIza…`, an AWS access key, 32
hexadecimal digits) counts only where the same file speaks of the provider. Placeholders are no keys: words such as
`your` or `example`, runs and sequences, too few different characters.

INVARIANT: of a key, at most its first 6 and last 2 characters and 48 bits of its SHA-256 leave this module.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from urllib.parse import urlsplit

from charter.discovery.catalogue import KEY_VARIABLES
from charter.discovery.file import File
from charter.discovery.key_forms import FORMS
from charter.discovery.sighting import Confidence, Key, Sighting, SightingKind
from charter.registry.charter import Kind

_MIN_ENTROPY = 3.0  # bits a character; 32 random hexadecimal digits have some 3.6
_DIGEST = 12


# the provider is told by the variable's name, the key by its length: Mistral's and Cohere's have no form of their own
_ASSIGNED = re.compile(
    r"(?i)(?P<name>\b(?:azure_?openai_?(?:api_?)?key|openai_?api_?key|mistral_?(?:api_?)?key|cohere_?(?:api_?)?key"
    r"|co_api_key|together(?:ai)?_?api_?key|ai21_?api_?key)\b)"
    r"[\"']?\s{0,4}(?:[:=]|=>|,)\s{0,4}(?:[\"'`])?(?P<value>[A-Za-z0-9]{32,84})(?![A-Za-z0-9_.\-(\[])"
)
_ASSIGNED_PROVIDERS = (
    ("azure", "azure-openai"),
    ("openai", "openai"),
    ("mistral", "mistral"),
    ("co", "cohere"),
    ("together", "together"),
    ("ai21", "ai21"),
)
# an Azure OpenAI client is given its key under a plain name
_AZURE = re.compile(rb"AzureOpenAI|\.openai\.azure\.com|azure_openai|AzureChatOpenAI")
_PLAIN = re.compile(
    r"(?i)\b(?:api_?key|subscription_?key|azurekeycredential)[\"']?\s{0,4}[:=(]\s{0,4}[\"'](?P<value>[0-9a-f]{32}|[A-Za-z0-9]{84})[\"']"
)
_PLACEHOLDER = re.compile(
    r"(?i)your|example|placeholder|change|dummy|fake|redacted|insert|replace|sample|secret|token|invalid|mock|todo"
    r"|xxxx|\*\*\*|\.\.\.|<|1234567|abcdef|abc123|deadbeef|here\b|test|not-?a|(.)\1{4}"
)
_SUSPECT = re.compile(r"[A-Za-z0-9+/_=-]{20,}")
_SAID = re.compile(
    r"(?i)\b(authorization|x-[a-z-]{0,30}key|bearer|basic|password|pwd|token|secret|api_?key)(?:\s*[:=]|\s)\s*\S.*"
)
_SECRET_NAME = re.compile(r"(?i)key|token|secret|passw|credential|auth")
_MARKERS = tuple({form.marker for form in FORMS})
_WORDS = (b"_KEY", b"_key", b"Key", b"KEY")


def key_sightings(file: File) -> Iterator[Sighting]:
    """Yield the hard-coded keys in a file, each place once."""
    taken: list[range] = []
    for provider, start, value in _candidates(file):
        place = range(start, start + len(value))
        if any(place.start < other.stop and other.start < place.stop for other in taken):
            continue
        taken.append(place)
        if is_placeholder(value):
            continue
        key = redacted(provider, value)
        yield Sighting(
            SightingKind.KEY,
            file.shown,
            file.line_at(start),
            f"a hard-coded key of {provider}: {key.shown}",
            Kind.MODEL_INTEGRATION,
            Confidence.DECLARED,
            "a key written into the file",
            provider=provider,
            key=key,
        )


def _candidates(file: File) -> Iterator[tuple[str, int, str]]:
    """Yield (provider, offset, text) of all that looks like a key; the surest form of a place comes first."""
    if file.holds(*_MARKERS):
        for form in FORMS:
            if form.marker in file.data and (form.near is None or form.near.search(file.data)):
                for match in form.pattern.finditer(file.text):
                    yield form.provider, match.start(), match[0]
    if not file.holds(*_WORDS):
        return
    for match in _ASSIGNED.finditer(file.text):
        name = match["name"].lower()
        provider = next(provider for start, provider in _ASSIGNED_PROVIDERS if name.startswith(start))
        yield provider, match.start("value"), match["value"]
    if _AZURE.search(file.data):
        for match in _PLAIN.finditer(file.text):
            yield "azure-openai", match.start("value"), match["value"]


def is_placeholder(value: str) -> bool:
    """Return whether `value` stands where a key would, and is none."""
    body = value.partition("-")[2] or value
    return bool(_PLACEHOLDER.search(value)) or _entropy(body[-32:]) < _MIN_ENTROPY or _is_sequence(body)


def _entropy(text: str) -> float:
    """Return the bits a character of `text` carries, by the text's own frequencies."""
    counts = Counter(text).values()
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts)


def _is_sequence(text: str) -> bool:
    """Return whether a third of `text` counts up or down by one: `23456789abcdefgh`."""
    steps = [ord(b) - ord(a) for a, b in pairwise(text)]
    return bool(steps) and max(steps.count(1), steps.count(-1)) * 3 > len(steps)


def redacted(provider: str, value: str) -> Key:
    """Return `value` as a key that can be shown: its known beginning, its last two characters, a short digest."""
    has_form = any(value.startswith(form.marker.decode()) for form in FORMS)
    shown = f"{value[: 6 if has_form else 2]}…{value[-2:]}"
    return Key(provider, shown, hashlib.sha256(value.encode()).hexdigest()[:_DIGEST])


def is_written_secret(name: str, value: str) -> bool:
    """Return whether a variable or header called `name` has its secret written out, not a reference to one."""
    value = value.removeprefix("Bearer ").removeprefix("bearer ").strip()
    if not _SECRET_NAME.search(name) or len(value) < 16 or "$" in value or "{" in value or "://" in value:  # noqa: PLR2004 - shorter ones are no secrets
        return False
    return not is_placeholder(value) and not re.search(r"\s", value)


def without_secrets(text: str) -> str:
    """Return `text`, a word of a command or an URL, with whatever may be a secret in it as `***`.

    It errs on the side of hiding: a long word of many different characters without a name's shape goes too.
    """
    if "://" in text:
        return _url_without_secrets(text)
    name, equals, _ = text.partition("=")
    if equals and _SECRET_NAME.search(name):
        return f"{name}=***"
    return _SUSPECT.sub(lambda match: _word_without_secrets(match[0]), _SAID.sub(r"\1 ***", text))


def words_without_secrets(words: list[str]) -> list[str]:
    """Return the words of a command without secrets; the word after `--api-key` and its like is one."""
    safe: list[str] = []
    hidden = False
    for word in words:
        safe.append("***" if hidden else without_secrets(word))
        hidden = word.startswith("-") and "=" not in word and bool(_SECRET_NAME.search(word))
    return safe


def _url_without_secrets(text: str) -> str:
    """Return an URL without user, password, query values and fragment."""
    try:
        parts = urlsplit(text)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "***"
    names = "&".join(f"{pair.partition('=')[0]}=***" for pair in parts.query.split("&") if "=" in pair)
    path = "/".join("***" if _may_be_secret(part) else part for part in parts.path.split("/"))
    return f"{parts.scheme}://{host}{path}" + (f"?{names}" if names else "")


def _word_without_secrets(word: str) -> str:
    """Return a word with its secret parts hidden; a path keeps those of its parts that are names."""
    is_path = "/" in word and (word[0] in "/@" or any(ch in word for ch in "-_"))
    if is_path and not _has_form(word):
        return "/".join("***" if _may_be_secret(part) else part for part in word.split("/"))
    return "***" if _may_be_secret(word) else word


def _may_be_secret(word: str) -> bool:
    if _has_form(word):
        return True
    has_digit = any(ch.isdigit() for ch in word)
    has_case = any(ch.isupper() for ch in word) and any(ch.islower() for ch in word)
    is_long = len(word) >= 20  # noqa: PLR2004 - shorter words are names
    return is_long and has_digit and (has_case or "-" not in word) and _entropy(word) > _MIN_ENTROPY


def _has_form(word: str) -> bool:
    return any(form.marker.decode() in word and form.pattern.search(word) for form in FORMS)


def provider_of_variable(name: str) -> str | None:
    """Return whose key an environment variable called `name` holds, if it is a model provider's."""
    return KEY_VARIABLES.get(name.upper())
