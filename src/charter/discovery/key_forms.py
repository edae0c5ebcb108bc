"""The forms of model providers' keys, and how to hide whatever has one.

What could be any other key (Google's `AIza…`, an AWS access key) has `near`: words that must stand in the same file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeyForm:
    """How one provider's keys look. `marker` is a part every one has; `near` must stand in the same file."""

    provider: str
    marker: bytes
    body: str
    pattern: re.Pattern[str]
    near: re.Pattern[bytes] | None = None


_END = r"(?![A-Za-z0-9_-])"
_START = r"(?<![A-Za-z0-9_-])"
_GOOGLE_AI = re.compile(rb"(?i)gemini|generativelanguage|genai|generative-?ai|vertexai")
_BEDROCK = re.compile(rb"(?i)bedrock")
_DEEPSEEK = re.compile(rb"(?i)deepseek")
_OPENAI = re.compile(rb"(?i)openai|gpt-|api[_-]?key")


def _form(provider: str, marker: str, body: str, near: re.Pattern[bytes] | None = None) -> KeyForm:
    return KeyForm(provider, marker.encode(), body, re.compile(f"{_START}{body}{_END}"), near)


FORMS = (
    _form("anthropic", "sk-ant-", r"sk-ant-(?:api|admin|oat|sid)\d\d-[A-Za-z0-9_-]{20,200}"),
    _form("openrouter", "sk-or-", r"sk-or-v1-[0-9a-f]{64}"),
    _form("openai", "sk-", r"sk-(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{20,250}"),
    _form("openai", "T3BlbkFJ", r"sk-[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}"),
    _form("deepseek", "sk-", r"sk-[0-9a-f]{32}", _DEEPSEEK),
    _form("openai", "sk-", r"sk-[A-Za-z0-9]{32,64}", _OPENAI),
    _form("google", "AIza", r"AIza[A-Za-z0-9_-]{35}", _GOOGLE_AI),
    _form("huggingface", "hf_", r"hf_[A-Za-z]{34,37}"),
    _form("groq", "gsk_", r"gsk_[A-Za-z0-9]{48,56}"),
    _form("replicate", "r8_", r"r8_[A-Za-z0-9]{37,40}"),
    _form("xai", "xai-", r"xai-[A-Za-z0-9]{70,90}"),
    _form("perplexity", "pplx-", r"pplx-[A-Za-z0-9]{40,56}"),
    _form("nvidia", "nvapi-", r"nvapi-[A-Za-z0-9_-]{60,70}"),
    _form("cerebras", "csk-", r"csk-[a-z0-9]{44,52}"),
    _form("fireworks", "fw_", r"fw_[A-Za-z0-9]{22,28}"),
    _form("aws-bedrock", "ABSK", r"ABSK[A-Za-z0-9+/]{100,200}={0,2}"),
    _form("aws-bedrock", "AKIA", r"AKIA[0-9A-Z]{16}", _BEDROCK),
)
_ANYWHERE = re.compile("|".join(f"(?:{form.body})" for form in FORMS))
_MARKERS = tuple(dict.fromkeys(form.marker.decode() for form in FORMS))


def without_keys(text: str) -> str:
    """Return `text` with what has a key's form, wherever it stands, down to its first 6 and last 2 characters."""
    if not any(marker in text for marker in _MARKERS):
        return text
    return _ANYWHERE.sub(lambda match: f"{match[0][:6]}…{match[0][-2:]}", text)
