"""Low-code workflows that call models: n8n's exports, by their nodes.

A workflow counts if a node of it is a model, an agent or a chain; one that has only a chat window or text splitters
does not. Credentials are told by the names people gave them; an export holds no more of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from charter.discovery.catalogue import Sdk, provider_of_model, provider_of_url
from charter.discovery.file import File
from charter.discovery.sighting import Confidence, FindingKind, Sighting, SightingKind, clean
from charter.discovery.source_code import node_imports
from charter.discovery.tree import Node, UnreadableError, read_json
from charter.registry.charter import Kind

_AI = "@n8n/n8n-nodes-langchain."
_HELPERS = re.compile(r"(?i)trigger|textSplitter|document|outputParser|memory|retriever|^chat$|code$")
_BASE_AI = {
    "n8n-nodes-base.openAi": "openai",
    "n8n-nodes-base.mistralAi": "mistral",
    "n8n-nodes-base.perplexity": "perplexity",
}
_PROVIDERS = (
    ("azureOpenAi", "azure-openai"), ("openAi", "openai"), ("OpenAi", "openai"), ("nthropic", "anthropic"),
    ("emini", "google"), ("oogleVertex", "google"), ("ooglePalm", "google"), ("llama", "ollama"), ("istral", "mistral"),
    ("ohere", "cohere"), ("Groq", "groq"), ("Bedrock", "aws-bedrock"), ("OpenRouter", "openrouter"),
    ("DeepSeek", "deepseek"), ("HuggingFace", "huggingface"), ("XAiGrok", "xai"), ("Perplexity", "perplexity"),
)  # fmt: skip
_LIKELY = re.compile(
    rb"langchain|ai_languageModel|nodes-base\.(?:openAi|mistralAi|perplexity)|https://|\\\"messages\\\""
)
_CHAT = re.compile(r"\"messages\"\s*:")
_CODE_FIELDS = ("jsCode", "functionCode", "pythonCode")
_PLAIN = frozenset(
    {"set", "if", "switch", "merge", "code", "function", "functionItem", "noOp", "stickyNote", "manualTrigger", "wait"}
    | {"start", "splitInBatches", "splitOut", "aggregate", "filter", "sort", "limit", "itemLists", "respondToWebhook"}
    | {"scheduleTrigger", "cron", "interval", "dateTime", "executeWorkflow", "executeWorkflowTrigger", "errorTrigger"}
    | {"stopAndError", "summarize", "removeDuplicates", "html", "markdown", "xml", "crypto", "compression", "webhook"}
    | {"convertToFile", "extractFromFile", "moveBinaryData", "form", "formTrigger", "renameKeys", "debugHelper"}
)
MAX_NODES_TOLD = 300


def low_code_sightings(file: File) -> Iterator[Sighting]:
    """Yield the models, agents and tools of the n8n workflows in a file.

    Raises:
        UnreadableError: it holds workflows and cannot be read.
    """
    if (
        file.suffix != ".json"
        or not file.holds(b'"nodes"')
        or not file.holds(b"n8n-nodes-")
        or not _LIKELY.search(file.data)
    ):
        return
    try:
        root = read_json(file.text)
    except UnreadableError as err:
        raise UnreadableError(f"an n8n workflow, by its words; {err}") from err
    for workflow in _workflows(root):
        yield from _Workflow(file, workflow).read()


def _workflows(root: Node) -> Iterator[Node]:
    """Yield the workflows of an export: one, a list of them, or one wrapped in a template."""
    for key, node in root.walk():
        nodes = node.get("nodes")
        if nodes is not None and nodes.items and (node.get("connections") is not None or key == ""):
            yield node


class _Workflow:
    """Reads one workflow."""

    def __init__(self, file: File, node: Node) -> None:
        self.file = file
        self.nodes = [item for item in (node.get("nodes") or node).items if item.text_at("type")]
        self.name = clean(node.text_at("name") or "", 120) or None
        connections = node.get("connections") or Node("", 1)
        self.tools = _connected(connections, "ai_tool")
        self.models = _connected(connections, "ai_languageModel")

    def read(self) -> Iterator[Sighting]:
        """Yield its sightings, if a model has a part in it."""
        if not any(self._is_model(node) for node in self.nodes):
            return
        notes = tuple(self._notes())
        for node in self.nodes[:MAX_NODES_TOLD]:
            what = self._role(node)
            if what:
                yield self._sighting(node, what, notes)

    def _is_model(self, node: Node) -> bool:
        kind = node.text_at("type") or ""
        if node.text_at("name") in self.models:
            return True
        if kind.startswith(_AI):
            return not _HELPERS.search(kind.removeprefix(_AI)) and not kind.startswith(
                (f"{_AI}tool", f"{_AI}vectorStore")
            )
        return kind in _BASE_AI or bool(self._api(node)) or bool(_sdk_of(node)) or _is_chat(node)

    def _role(self, node: Node) -> str | None:
        """Return what part a node has: the model, agent or tool it is; None if none that matters here."""
        kind, name = node.text_at("type") or "", node.text_at("name") or "unnamed"
        if name in self.tools or kind.startswith(f"{_AI}tool") or kind == f"{_AI}mcpClientTool":
            return f"the tool {name}"
        if self._is_model(node):
            word = (
                "agent"
                if kind.lower().endswith(".agent")
                else "model"
                if "lmChat" in kind or ".lm" in kind
                else "AI node"
            )
            return f"the {word} {name}"
        return None

    def _sighting(self, node: Node, what: str, notes: tuple[str, ...]) -> Sighting:
        kind = node.text_at("type") or ""
        model = _model_of(node)
        credentials = node.get("credentials")
        names = [item.text_at("name") or key for key, item in credentials.fields.items()] if credentials else []
        given = f", with the credential {', '.join(names[:5])}" if names else ""
        return Sighting(
            SightingKind.NODE,
            self.file.shown,
            node.line,
            clean(f"{what} ({kind.rpartition('.')[2]}){given}"),
            Kind.WORKFLOW,
            Confidence.DECLARED,
            "a node of an n8n workflow",
            provider=self._provider(node, kind, model),
            model=clean(model, 128) if model else None,
            place=FindingKind.WORKFLOW,
            product="n8n",
            name=self.name,
            notes=notes,
        )

    def _provider(self, node: Node, kind: str, model: str | None) -> str | None:
        sdk = _sdk_of(node)
        by_code = sdk.provider if sdk else None
        return _provider_of(kind) or self._api(node) or (provider_of_model(model) if model else None) or by_code

    def _api(self, node: Node) -> str | None:
        """Return whose model API an HTTP request node calls, if one's."""
        if node.text_at("type") != "n8n-nodes-base.httpRequest":
            return None
        return provider_of_url(node.text_at("parameters", "url") or "")

    def _notes(self) -> Iterator[str]:
        """Yield the applications the workflow reaches, and whether strangers can start it."""
        for node in self.nodes:
            kind = node.text_at("type") or ""
            word = kind.rpartition(".")[2]
            if kind.startswith("n8n-nodes-") and word not in _PLAIN and kind not in _BASE_AI and word != "httpRequest":
                yield f"reaches:{clean(word.removesuffix('Trigger').removesuffix('Tool'), 40)}"
            if word in ("webhook", "chatTrigger", "formTrigger"):
                yield f"trigger:{word}"


def _connected(connections: Node, kind: str) -> frozenset[str]:
    """Return the names of the nodes that are connected as `ai_tool` or `ai_languageModel`."""
    return frozenset(name for name, ends in connections.fields.items() if kind in ends.fields)


def _is_chat(node: Node) -> bool:
    """Whether a request's body is a conversation with a model, whatever address it goes to."""
    body = node.text_at("parameters", "jsonBody") or node.text_at("parameters", "body") or ""
    return node.text_at("type") == "n8n-nodes-base.httpRequest" and '"model"' in body and bool(_CHAT.search(body))


def _sdk_of(node: Node) -> Sdk | None:
    """Return the SDK that a node's own code imports, if it does."""
    parameters = node.get("parameters") or node
    code = next((text for name in _CODE_FIELDS if (text := parameters.text_at(name))), "")
    code = (
        code or parameters.text_at("code", "execute", "code") or parameters.text_at("code", "supplyData", "code") or ""
    )
    return next(node_imports(code), None) if code else None


def _model_of(node: Node) -> str | None:
    """Return the model's name in a node's parameters, if one is written out."""
    for key in ("model", "modelId", "modelName"):
        found = node.get("parameters", key)
        text = found.text if found is not None and found.text is not None else found.text_at("value") if found else None
        if text and not text.startswith("="):
            return text
    return None


def _provider_of(kind: str) -> str | None:
    if kind in _BASE_AI:
        return _BASE_AI[kind]
    word = kind.rpartition(".")[2] if kind.startswith(_AI) else ""
    return next((provider for part, provider in _PROVIDERS if part in word), None)
