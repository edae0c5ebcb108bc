"""The demo's agent that asks a model: a program of its own that speaks Anthropic's API and knows nothing of Charter.

It reads one JSON list of requests from standard input, sends each to where its environment says that the API is, and
prints one JSON line for each: `{"status", "body"}`.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request


def main() -> None:
    """Send the requests that standard input holds."""
    for asked in json.load(sys.stdin):
        request = urllib.request.Request(  # noqa: S310 - the address that this program was given
            os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages",
            json.dumps(asked).encode(),
            {
                "content-type": "application/json",
                "anthropic-version": "2023-06-01",
                "x-api-key": os.environ["ANTHROPIC_API_KEY"],
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                status, body = answer.status, answer.read()
        except urllib.error.HTTPError as err:
            status, body = err.code, err.read()
        print(json.dumps({"status": status, "body": json.loads(body)}), flush=True)  # noqa: T201 - its output


if __name__ == "__main__":
    main()
