"""Sorts incoming card disputes with a model."""

import os

from anthropic import Anthropic

client = Anthropic(api_key=os.environ.get("ANTHROPIC_API_KEY", "@@KEY@@"))


def triage(dispute: str) -> str:
    message = client.messages.create(
        model="claude-sonnet-4-5",
        max_tokens=200,
        messages=[{"role": "user", "content": f"Refund, reject or ask? {dispute}"}],
    )
    return message.content[0].text
