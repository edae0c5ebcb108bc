"""An agent that calls a model by the official client of its provider, and knows nothing of Charter."""

from __future__ import annotations

import http.server
import sys
import threading
from pathlib import Path
from textwrap import dedent

import pytest

from model_stage import Provider, Seen
from terminal import Terminal

SYSTEM = """\
charter: v1
system: models
kind: model
provider: openai
environment: sandbox
owner: {{person: rita@example.com, team: platform}}
upstream: {{transport: http, url: "http://127.0.0.1:{port}/v1"}}
actions:
  chat: {{tool: chat.completions, effect: read}}
"""
AGENT = dedent("""
    import asyncio, os
    import openai
    from mcp import Client
    async def tools():
        async with Client(os.environ["CHARTER_MCP_URL"]) as client:
            return [tool.name for tool in (await client.list_tools()).tools]
    print(asyncio.run(tools()))
    with openai.OpenAI(max_retries=0) as client:
        answer = client.chat.completions.create(model="small-1", messages=[{"role": "user", "content": "hello"}])
        print(answer.choices[0].message.content)
        try:
            client.chat.completions.create(model="big-1", messages=[])
        except openai.PermissionDeniedError as err:
            print("refused:", err.body["type"])
""")


@pytest.mark.slow
def test_a_program_that_speaks_to_models_needs_no_change(estate: Terminal, tmp_path: Path) -> None:
    seen: list[Seen] = []
    handler = type("Handler", (Provider,), {"seen": seen, "gate": threading.Event()})
    provider = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    provider.daemon_threads = True
    threading.Thread(target=provider.serve_forever, args=(0.05,), daemon=True).start()
    try:
        system = SYSTEM.format(port=provider.server_address[1])
        (estate.folder / "systems" / "models.yaml").write_text(system, encoding="utf-8")
        charter = estate.folder / "principals" / "note-reader.yaml"
        grant = 'grants:\n  - system: models\n    actions: [chat]\n    objects: ["model/small-*"]\n'
        charter.write_text(charter.read_text().replace("grants:\n", grant), encoding="utf-8")
        (tmp_path / "agent.py").write_text(AGENT, encoding="utf-8")
        estate.charter("apply", "--yes", "--reason", "it asks small models")
        with estate.up():
            done = estate.charter("run", "note-reader", "--", sys.executable, str(tmp_path / "agent.py"))
            assert done.out.splitlines() == ["['notes__read_note']", "hello", "refused: permission_error"]
            told = estate.ask("evidence", "query", "--principal", "note-reader", "--kind", "outcome")["entries"]
            assert told[-1]["body"]["used"]["input_tokens"] == 11
        assert [each.headers.get("authorization") for each in seen] == [None]
    finally:
        provider.shutdown()
        provider.server_close()
