"""Keys are found by form or by context, placeholders are none, and nothing found is ever shown."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charter.discovery.file import File
from charter.discovery.keys import (
    is_placeholder,
    is_written_secret,
    key_sightings,
    redacted,
    without_secrets,
    words_without_secrets,
)
from scan_corpus import made_key

FORMS = ("openai", "openai-old", "anthropic", "openrouter", "huggingface", "groq", "replicate", "xai", "perplexity")


def keys_in(text: str) -> list[str]:
    return [s.provider or "" for s in key_sightings(File("src/a.py", text.encode()))]


@pytest.mark.parametrize("form", FORMS)
def test_a_key_is_known_by_its_form(form: str) -> None:
    assert keys_in(f'key = "{made_key(form, "a")}"') == [form.removesuffix("-old")]


@pytest.mark.parametrize(
    ("form", "context", "provider"),
    [
        ("google", "import google.genai", "google"),
        ("aws", 'boto3.client("bedrock-runtime")', "aws-bedrock"),
        ("deepseek", "https://api.deepseek.com", "deepseek"),
    ],
)
def test_a_key_of_common_form_counts_only_beside_its_provider(form: str, context: str, provider: str) -> None:
    key = made_key(form, "b")

    assert keys_in(f'{context}\nkey = "{key}"') == [provider]
    assert provider not in keys_in(f'nothing else\nkey = "{key}"')


def test_a_bedrock_bearer_key_is_found() -> None:
    assert keys_in(f"AWS_BEARER_TOKEN_BEDROCK={made_key('bedrock', 'c')}") == ["aws-bedrock"]


@pytest.mark.parametrize(
    "text",
    [
        "sk-your-key-here",
        "sk-proj-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "sk-ant-api03-YOUR-KEY-GOES-HERE-AAAAAAAAAAAAAAAA",
        "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789",
        "gsk_1234567890123456789012345678901234567890123456789012",
        "AKIAIOSFODNN7EXAMPLE",
        "hf_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ],
)
def test_a_placeholder_is_no_key(text: str) -> None:
    assert keys_in(f'bedrock key = "{text}"') == []


@pytest.mark.parametrize("form", FORMS)
def test_hardly_any_made_key_passes_for_a_placeholder(form: str) -> None:
    keys = [made_key(form, str(n)) for n in range(300)]

    assert sum(is_placeholder(key) for key in keys) <= 3


def test_a_redacted_key_shows_six_characters_and_two_at_most() -> None:
    value = made_key("openai", "d")

    key = redacted("openai", value)

    assert key.shown == f"{value[:6]}…{value[-2:]}"
    assert len(key.digest) == 12
    assert key == redacted("openai", value)


def test_a_key_without_a_form_shows_two_characters_and_two() -> None:
    value = made_key("ALNUM32", "e")

    assert redacted("mistral", value).shown == f"{value[:2]}…{value[-2:]}"


def test_one_place_is_one_key_whatever_forms_fit_it() -> None:
    key = made_key("openai-old", "f")

    assert keys_in(f"OPENAI_API_KEY = '{key}'  # deepseek") == ["openai"]


SECRETS = st.sampled_from([*FORMS, "google", "aws", "bedrock", "SECRET"]).flatmap(
    lambda form: st.integers(0, 50).map(lambda n: made_key(form, str(n)))
)


@settings(max_examples=200)
@given(SECRETS, st.sampled_from(["{}", "--token={}", "API_KEY={}", "https://u:{}@h/p", "https://h/p?k={}", "-H x:{}"]))
def test_no_word_of_a_command_keeps_its_secret(secret: str, shape: str) -> None:
    shown = without_secrets(shape.format(secret))

    assert secret not in shown
    assert secret[8:20] not in shown


def test_the_word_after_a_secret_option_is_hidden() -> None:
    words = [
        "server",
        "--api-key",
        "hunter2",
        "--port",
        "80",
        "-e",
        "DB_PASSWORD=pw",
        "--header",
        "Authorization: Bearer abc",
    ]

    assert words_without_secrets(words) == [
        "server", "--api-key", "***", "--port", "80", "-e", "DB_PASSWORD=***", "--header", "Authorization ***",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "word",
    [
        "@modelcontextprotocol/server-filesystem",
        "/srv/projects/Charter-2026/repo",
        "mcp-server-git==2026.1.0",
        "--stdio",
    ],
)
def test_names_and_paths_stay_readable(word: str) -> None:
    assert without_secrets(word) == word


@pytest.mark.parametrize(
    ("name", "value", "is_secret"),
    [
        ("GITHUB_TOKEN", made_key("SECRET", "g"), True),
        ("Authorization", "Bearer " + made_key("SECRET", "h"), True),
        ("GITHUB_TOKEN", "${GITHUB_TOKEN}", False),
        ("GITHUB_TOKEN", "<your token goes in here>", False),
        ("LOG_LEVEL", made_key("SECRET", "i"), False),
        ("API_KEY", "set-in-ci", False),
        ("AUTH_URL", "https://login.example.com/oauth2/v1/x", False),
    ],
)
def test_a_written_secret_is_told_from_a_reference(name: str, value: str, is_secret: bool) -> None:
    assert is_written_secret(name, value) is is_secret
