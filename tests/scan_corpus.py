"""The labelled corpus of checkouts that scans are measured against: one text file a case, in Go's txtar form.

    What the case shows, in a sentence.
    expect: KIND PATH SUGGESTS providers=a,b models=m servers=s keys=k     one line a finding; nothing left out
    unread: PATH                                                            one line a file that cannot be read
    -- path/of/a/file --
    its text

`@@KEY:openai@@` and its like stand for keys that are made when the case is unpacked: no file of ours holds one.
"""

from __future__ import annotations

import hashlib
import random
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from charter.discovery.findings import ScanFinding

FOLDER = Path(__file__).parent / "corpus"
_FILE = re.compile(r"^-- (.+) --$", re.MULTILINE)
_ALNUM = string.ascii_letters + string.digits
_HEX = "0123456789abcdef"
_FACTS = ("providers", "models", "servers", "keys")


@dataclass(frozen=True)
class Case:
    """One labelled checkout."""

    name: str
    expected: tuple[str, ...]  # `application services/disputes agent`, facts apart
    facts: tuple[str, ...]  # `application services/disputes agent models=gpt-4o-mini`
    unread: tuple[str, ...]
    files: dict[str, str]

    def unpack(self, root: Path) -> Path:
        """Write the case's files below `root`, with keys in their places."""
        for path, text in self.files.items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(with_keys(text, self.name), encoding="utf-8")
        return root


def cases() -> Iterator[Case]:
    """Yield the corpus, by name."""
    for path in sorted(FOLDER.glob("*.txtar")):
        yield read_case(path)


def read_case(path: Path) -> Case:
    head, *rest = _FILE.split(path.read_text(encoding="utf-8"))
    lines = head.splitlines()
    labels = [line.removeprefix("expect: ").split(" ") for line in lines if line.startswith("expect: ")]
    findings = [" ".join(words[:3]) for words in labels]
    facts = [
        f"{finding} {field}={value}"
        for finding, words in zip(findings, labels, strict=True)
        for word in words[3:]
        for field, values in [word.split("=", 1)]
        for value in values.split(",")
    ]
    unread = tuple(line.removeprefix("unread: ") for line in lines if line.startswith("unread: "))
    files = {name: text.removeprefix("\n") for name, text in zip(rest[::2], rest[1::2], strict=True)}
    return Case(path.stem, tuple(findings), tuple(facts), unread, files)


def labels_of(finding: ScanFinding) -> tuple[str, list[str]]:
    """Return a finding and its facts in the corpus's words."""
    label = f"{finding.kind.value} {finding.path} {finding.suggests.value}"
    values = {
        "providers": finding.providers,
        "models": finding.models,
        "servers": [server.name for server in finding.servers],
        "keys": [key.provider for key in finding.keys],
    }
    return label, [f"{label} {field}={value}" for field in _FACTS for value in values[field]]


def made_key(form: str, seed: str) -> str:
    """Return a key as a provider makes them, the same for the same seed; nobody ever issued it."""
    dice = random.Random(hashlib.sha256(f"{form}/{seed}".encode()).digest())  # noqa: S311 - made-up keys, the same each time

    def some(count: int, alphabet: str = _ALNUM) -> str:
        return "".join(dice.choice(alphabet) for _ in range(count))

    forms = {
        "openai": lambda: "sk-" + "proj-" + some(64),
        "openai-old": lambda: "sk-" + some(20) + "T3Blbk" + "FJ" + some(20),
        "anthropic": lambda: "sk-" + "ant-api03-" + some(93) + "AA",
        "openrouter": lambda: "sk-" + "or-v1-" + some(64, _HEX),
        "google": lambda: "AI" + "za" + some(35),
        "huggingface": lambda: "hf" + "_" + some(34, string.ascii_letters),
        "groq": lambda: "gs" + "k_" + some(52),
        "replicate": lambda: "r8" + "_" + some(37),
        "xai": lambda: "xai" + "-" + some(80),
        "perplexity": lambda: "ppl" + "x-" + some(48),
        "deepseek": lambda: "sk-" + some(32, _HEX),
        "aws": lambda: "AK" + "IA" + some(16, string.ascii_uppercase + "234567"),
        "bedrock": lambda: "AB" + "SK" + some(128),
        "ALNUM32": lambda: some(32),
        "HEX32": lambda: some(32, _HEX),
        "SECRET": lambda: some(40),
    }
    return forms[form]()


def with_keys(text: str, seed: str) -> str:
    """Return `text` with a made key for each `@@KEY:form@@`, `@@HEX32@@` and so on."""
    return re.sub(r"@@(?:KEY:)?([A-Za-z0-9-]+)@@", lambda match: made_key(match[1], seed), text)
