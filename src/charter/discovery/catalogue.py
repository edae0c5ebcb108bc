"""What is known of model SDKs, agent frameworks, model APIs and model names. Data, and the look-ups over it.

A name is looked up whole or by its longest known prefix at a separator, so `openai` is found and `openai-mock` is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from charter.registry.charter import Kind


@dataclass(frozen=True, slots=True)
class Sdk:
    """A package that calls models: what it is called, whose models it calls if certain, what its use suggests."""

    name: str
    provider: str | None
    suggests: Kind


_MODEL, _AGENT, _COPILOT, _BROWSER = Kind.MODEL_INTEGRATION, Kind.AGENT, Kind.COPILOT, Kind.BROWSER_AGENT
_ASSISTANT = Kind.DEVELOPER_ASSISTANT


def _table(suggests: Kind, lines: str) -> dict[str, Sdk]:
    """Return module -> Sdk from lines `provider: module module …`; `-` is no certain provider."""
    found: dict[str, Sdk] = {}
    for line in lines.strip().splitlines():
        provider, _, modules = line.partition(": ")
        name = provider.strip()
        for module in modules.split():
            found[module] = Sdk(module, None if name == "-" else name, suggests)
    return found


PYTHON_MODULES: Mapping[str, Sdk] = {
    **_table(
        _MODEL,
        """
        openai: openai
        anthropic: anthropic
        google: google.genai google.generativeai vertexai google.cloud.aiplatform
        mistral: mistralai
        cohere: cohere
        ollama: ollama
        groq: groq
        replicate: replicate
        together: together
        xai: xai_sdk
        fireworks: fireworks
        cerebras: cerebras.cloud.sdk
        ai21: ai21
        huggingface: transformers huggingface_hub.InferenceClient
        azure-openai: azure.ai.openai
        azure: azure.ai.inference
        ibm: ibm_watsonx_ai
        local: llama_cpp vllm gpt4all
        -: litellm aisuite instructor mirascope magentic outlines guidance langchain langchain_core langchain_community
        openai: langchain_openai
        anthropic: langchain_anthropic
        google: langchain_google_genai langchain_google_vertexai
        aws-bedrock: langchain_aws
        mistral: langchain_mistralai
        cohere: langchain_cohere
        ollama: langchain_ollama
        groq: langchain_groq
        huggingface: langchain_huggingface
        -: llama_index haystack dspy semantic_kernel
        """,
    ),
    **_table(
        _AGENT,
        """
        -: langgraph crewai autogen autogen_agentchat autogen_core autogen_ext ag2 pydantic_ai smolagents strands
        -: agno phi letta_client langchain.agents
        -: llama_index.core.agent deepagents camel.agents beeai_framework agent_framework
        anthropic: claude_agent_sdk claude_code_sdk
        google: google.adk
        azure: azure.ai.projects azure.ai.agents
        aws-bedrock: bedrock_agentcore
        """,
    ),
    **_table(_BROWSER, "-: browser_use stagehand skyvern"),
    **_table(_COPILOT, "-: chainlit copilotkit"),
}
# `agents` is a common name for a folder of one's own; these are the words only the OpenAI Agents SDK exports
OPENAI_AGENTS_WORDS = frozenset(
    {"Runner", "function_tool", "handoff", "InputGuardrail", "OutputGuardrail", "RunContextWrapper", "AgentHooks"}
    | {"set_default_openai_client", "set_default_openai_key", "OpenAIChatCompletionsModel", "WebSearchTool"}
)
OPENAI_AGENTS = Sdk("openai-agents", "openai", _AGENT)
BEDROCK = Sdk("bedrock-runtime", "aws-bedrock", _MODEL)
BEDROCK_AGENT = Sdk("bedrock-agent-runtime", "aws-bedrock", _AGENT)
BEDROCK_SERVICES = {
    "bedrock-runtime": BEDROCK,
    "bedrock-agent-runtime": BEDROCK_AGENT,
    "bedrock-agentcore": BEDROCK_AGENT,
}

PYTHON_PACKAGES: Mapping[str, Sdk] = {
    **_table(
        _MODEL,
        """
        openai: openai langchain-openai llama-index-llms-openai
        anthropic: anthropic langchain-anthropic llama-index-llms-anthropic
        google: google-genai google-generativeai langchain-google-genai langchain-google-vertexai vertexai
        mistral: mistralai langchain-mistralai
        cohere: cohere langchain-cohere
        ollama: ollama langchain-ollama
        groq: groq langchain-groq
        replicate: replicate
        together: together
        xai: xai-sdk
        fireworks: fireworks-ai
        cerebras: cerebras-cloud-sdk
        ai21: ai21
        huggingface: transformers langchain-huggingface
        azure: azure-ai-inference
        ibm: ibm-watsonx-ai
        aws-bedrock: langchain-aws
        local: llama-cpp-python vllm gpt4all
        -: litellm aisuite instructor mirascope magentic outlines guidance langchain langchain-core langchain-community
        -: llama-index llama-index-core haystack-ai dspy dspy-ai semantic-kernel llm
        """,
    ),
    **_table(
        _AGENT,
        """
        -: langgraph crewai autogen pyautogen autogen-agentchat autogen-core autogen-ext ag2 pydantic-ai
        -: pydantic-ai-slim smolagents strands-agents agno phidata
        -: letta-client deepagents camel-ai beeai-framework agent-framework
        openai: openai-agents
        anthropic: claude-agent-sdk claude-code-sdk
        google: google-adk
        azure: azure-ai-projects azure-ai-agents
        aws-bedrock: bedrock-agentcore
        """,
    ),
    **_table(_BROWSER, "-: browser-use stagehand skyvern"),
    **_table(_COPILOT, "-: chainlit copilotkit"),
}

NODE_PACKAGES: Mapping[str, Sdk] = {
    **_table(
        _MODEL,
        """
        openai: openai @ai-sdk/openai @langchain/openai
        anthropic: @anthropic-ai/sdk @anthropic-ai/bedrock-sdk @anthropic-ai/vertex-sdk @ai-sdk/anthropic
        anthropic: @langchain/anthropic
        google: @google/genai @google/generative-ai @google-cloud/vertexai @google-cloud/aiplatform @ai-sdk/google
        google: @ai-sdk/google-vertex @langchain/google-genai @langchain/google-vertexai
        mistral: @mistralai/mistralai @ai-sdk/mistral @langchain/mistralai
        cohere: cohere-ai @ai-sdk/cohere @langchain/cohere
        ollama: ollama ollama-ai-provider @langchain/ollama
        groq: groq-sdk @ai-sdk/groq @langchain/groq
        replicate: replicate
        together: together-ai @ai-sdk/togetherai
        xai: @ai-sdk/xai
        deepseek: @ai-sdk/deepseek
        openrouter: @openrouter/ai-sdk-provider @openrouter/sdk
        aws-bedrock: @aws-sdk/client-bedrock-runtime @ai-sdk/amazon-bedrock @langchain/aws
        azure-openai: @azure/openai @ai-sdk/azure
        azure: @azure-rest/ai-inference
        huggingface: @huggingface/inference @huggingface/transformers @xenova/transformers
        local: node-llama-cpp
        -: ai @ai-sdk/react @ai-sdk/vue @ai-sdk/svelte @ai-sdk/gateway @ai-sdk/openai-compatible langchain
        -: @langchain/core @langchain/community llamaindex genkit
        -: @genkit-ai/googleai @genkit-ai/vertexai portkey-ai workers-ai-provider
        """,
    ),
    **_table(
        _AGENT,
        """
        -: @langchain/langgraph @mastra/core @voltagent/core @inngest/agent-kit beeai-framework @llamaindex/workflow
        openai: @openai/agents @openai/agents-core @openai/agents-realtime
        anthropic: @anthropic-ai/claude-agent-sdk @anthropic-ai/claude-code
        google: @google/adk
        aws-bedrock: @aws-sdk/client-bedrock-agent-runtime
        """,
    ),
    **_table(_BROWSER, "-: @browserbasehq/stagehand browser-use-sdk"),
    **_table(_COPILOT, "-: @copilotkit/react-core @copilotkit/runtime @copilotkit/react-ui @microsoft/teams-ai"),
}

GO_MODULES: Mapping[str, Sdk] = {
    **_table(
        _MODEL,
        """
        openai: github.com/openai/openai-go github.com/sashabaranov/go-openai
        anthropic: github.com/anthropics/anthropic-sdk-go github.com/liushuangls/go-anthropic
        google: google.golang.org/genai github.com/google/generative-ai-go cloud.google.com/go/vertexai
        ollama: github.com/ollama/ollama/api
        cohere: github.com/cohere-ai/cohere-go
        aws-bedrock: github.com/aws/aws-sdk-go-v2/service/bedrockruntime
        azure-openai: github.com/Azure/azure-sdk-for-go/sdk/ai/azopenai
        -: github.com/tmc/langchaingo github.com/firebase/genkit/go github.com/cloudwego/eino
        """,
    ),
    **_table(
        _AGENT,
        """
        aws-bedrock: github.com/aws/aws-sdk-go-v2/service/bedrockagentruntime
        google: google.golang.org/adk
        """,
    ),
}
RUST_CRATES: Mapping[str, Sdk] = _table(
    _MODEL,
    """
    openai: async_openai openai_api_rs
    ollama: ollama_rs
    aws-bedrock: aws_sdk_bedrockruntime
    local: mistralrs
    -: langchain_rust genai rig
    """,
) | {"rig_core": Sdk("rig-core", None, _MODEL)}
JVM_PACKAGES: Mapping[str, Sdk] = _table(
    _MODEL,
    """
    openai: com.openai com.theokanning.openai com.aallam.openai org.springframework.ai.openai
    openai: dev.langchain4j.model.openai
    anthropic: com.anthropic dev.langchain4j.model.anthropic org.springframework.ai.anthropic
    google: com.google.genai com.google.cloud.vertexai dev.langchain4j.model.googleai dev.langchain4j.model.vertexai
    ollama: io.github.ollama4j dev.langchain4j.model.ollama org.springframework.ai.ollama
    aws-bedrock: software.amazon.awssdk.services.bedrockruntime
    azure-openai: com.azure.ai.openai
    -: dev.langchain4j org.springframework.ai
    """,
) | _table(
    _AGENT, "google: com.google.adk\n-: ai.koog\naws-bedrock: software.amazon.awssdk.services.bedrockagentruntime"
)
JVM_ARTIFACTS: Mapping[str, Sdk] = _table(
    _MODEL,
    """
    openai: com.openai com.theokanning.openai-gpt3-java com.aallam.openai
    anthropic: com.anthropic
    google: com.google.genai google-cloud-vertexai
    ollama: io.github.ollama4j
    aws-bedrock: bedrockruntime
    azure-openai: azure-ai-openai
    -: dev.langchain4j org.springframework.ai
    """,
) | _table(_AGENT, "google: com.google.adk\n-: ai.koog")
DOTNET: Mapping[str, Sdk] = _table(
    _MODEL,
    """
    openai: OpenAI Betalgo.Ranul.OpenAI Microsoft.Extensions.AI.OpenAI
    anthropic: Anthropic Anthropic.SDK
    google: Mscc.GenerativeAI Google.GenAI Google.Cloud.AIPlatform.V1
    ollama: OllamaSharp
    aws-bedrock: Amazon.BedrockRuntime AWSSDK.BedrockRuntime
    azure-openai: Azure.AI.OpenAI
    azure: Azure.AI.Inference
    -: Microsoft.Extensions.AI
    """,
) | _table(_AGENT, "-: Microsoft.SemanticKernel Microsoft.Agents.AI AutoGen\nazure: Azure.AI.Projects")
RUBY_GEMS: Mapping[str, Sdk] = _table(
    _MODEL,
    """
    openai: openai ruby-openai
    anthropic: anthropic
    google: gemini-ai
    -: ruby_llm langchainrb langchain
    """,
)
PHP_PACKAGES: Mapping[str, Sdk] = _table(
    _MODEL,
    """
    openai: openai-php/client openai-php/laravel openai-php/symfony
    -: prism-php/prism theodo-group/llphant symfony/ai-bundle
    """,
) | _table(_AGENT, "-: neuron-core/neuron-ai")
PHP_NAMESPACES: Mapping[str, Sdk] = _table(_MODEL, "openai: OpenAI\n-: Prism LLPhant") | _table(_AGENT, "-: NeuronAI")


def looked_up(name: str, table: Mapping[str, Sdk], separator: str) -> Sdk | None:
    """Return the SDK of the longest known prefix of `name` that ends at a `separator`, or the whole."""
    while name:
        found = table.get(name)
        if found is not None:
            return found
        name = name.rpartition(separator)[0]
    return None


# --- model APIs -------------------------------------------------------------------------------------------------------

_HOSTS = (
    ("openai", r"api\.openai\.com"),
    ("azure-openai", r"[a-z0-9-]{1,63}\.openai\.azure\.com"),
    ("azure", r"[a-z0-9-]{1,63}\.(?:services\.ai|inference\.ml)\.azure\.com"),
    ("anthropic", r"api\.anthropic\.com"),
    ("google", r"generativelanguage\.googleapis\.com|(?:[a-z0-9-]{1,40}-)?aiplatform\.googleapis\.com"),
    ("aws-bedrock", r"bedrock(?:-agent)?-runtime\.[a-z0-9-]{1,40}\.amazonaws\.com"),
    ("mistral", r"api\.mistral\.ai"),
    ("cohere", r"api\.cohere\.(?:ai|com)"),
    ("groq", r"api\.groq\.com"),
    ("openrouter", r"openrouter\.ai/api"),
    ("deepseek", r"api\.deepseek\.com"),
    ("together", r"api\.together\.(?:xyz|ai)"),
    ("perplexity", r"api\.perplexity\.ai"),
    ("fireworks", r"api\.fireworks\.ai"),
    ("replicate", r"api\.replicate\.com"),
    ("huggingface", r"api-inference\.huggingface\.co|router\.huggingface\.co"),
    ("xai", r"api\.x\.ai"),
    ("nvidia", r"integrate\.api\.nvidia\.com"),
    ("ollama", r"(?:localhost|127\.0\.0\.1|ollama):11434"),
)
HOST_MARKERS = (b"api.", b"openrouter.ai", b".azure.com", b"bedrock", b":11434", b"googleapis.com", b"huggingface.co")
_ENDPOINT = re.compile(
    r"(?:https?|wss)://(?:"
    + "|".join(f"(?P<h{i}>{host})" for i, (_, host) in enumerate(_HOSTS))
    + r")(?=[/:\"'?#\s`]|$)"
)


def provider_of_url(text: str) -> str | None:
    """Return whose model API an URL in `text` is, if it is one's."""
    return next((provider for provider, _ in endpoints_in(text)), None)


def endpoints_in(text: str) -> Iterator[tuple[str, int]]:
    """Yield (provider, offset) of each model API's URL in `text`."""
    for match in _ENDPOINT.finditer(text):
        yield _HOSTS[int((match.lastgroup or "h0")[1:])][0], match.start()


# --- model names ------------------------------------------------------------------------------------------------------

_T = r"[A-Za-z0-9._-]{0,60}"
MODEL_FAMILIES: tuple[tuple[str, str], ...] = (
    ("openai", rf"gpt-(?:[345]|image|oss|realtime|audio){_T}"),
    ("openai", r"o[134](?:-(?:mini|pro|preview|deep-research))?(?:-\d{4}-\d\d-\d\d)?"),
    ("openai", rf"chatgpt-{_T}|text-embedding-(?:3-\w+|ada-002)|text-davinci-{_T}|dall-e-[23]|codex-mini-latest"),
    ("openai", r"computer-use-preview"),
    ("anthropic", rf"claude-(?:[1-9]|(?:instant|opus|sonnet|haiku|mythos)\b){_T}(?:@\d{{8}})?"),
    (
        "google",
        rf"(?:models/)?gemini-(?:[1-9]|(?:pro|flash|ultra|exp|live|embedding)\b){_T}|text-bison{_T}|chat-bison{_T}",
    ),
    ("google", rf"gemma-?[1-9]{_T}(?::[a-z0-9._-]{{1,40}})?"),
    ("mistral", rf"(?:open-)?mi[sx]tral-(?:large|small|medium|tiny|nemo|saba|embed|\d){_T}"),
    ("mistral", rf"(?:codestral|ministral|pixtral|magistral|devstral)-{_T}"),
    ("cohere", rf"command-(?:r|r7b|a|light|nightly)(?:-{_T})?|embed-(?:english|multilingual)-v[23]{_T}"),
    ("meta", rf"(?:meta-)?llama-?[234]{_T}(?::[a-z0-9._-]{{1,40}})?|meta-llama/{_T}"),
    ("deepseek", rf"deepseek-(?:chat|reasoner|coder|v[23]|r1){_T}(?::[a-z0-9._-]{{1,40}})?"),
    ("xai", rf"grok-(?:[1-9]|beta|vision|code){_T}"),
    ("alibaba", rf"[Qq]wen-?(?:[1-9]|max|plus|turbo){_T}(?::[a-z0-9._-]{{1,40}})?"),
    (
        "aws-bedrock",
        rf"(?:(?:us|eu|apac|global)\.)?(?:anthropic|amazon|meta|mistral|cohere|ai21|deepseek)\.[a-z]{_T}(?::\d{{1,3}})?",
    ),
)
_PREFIXES = {
    "openai": "openai", "anthropic": "anthropic", "gemini": "google", "google": "google", "google-gla": "google",
    "google_genai": "google", "vertex_ai": "google", "vertexai": "google", "azure": "azure-openai",
    "azure_openai": "azure-openai", "bedrock": "aws-bedrock", "bedrock_converse": "aws-bedrock", "ollama": "ollama",
    "ollama_chat": "ollama", "mistral": "mistral", "mistralai": "mistral", "groq": "groq", "openrouter": "openrouter",
    "huggingface": "huggingface", "xai": "xai", "deepseek": "deepseek", "together_ai": "together", "cohere": "cohere",
    "fireworks_ai": "fireworks", "perplexity": "perplexity", "x-ai": "xai", "meta-llama": "meta", "qwen": "alibaba",
}  # fmt: skip
_MODEL_NAME = re.compile("|".join(f"(?P<m{i}>{family})" for i, (_, family) in enumerate(MODEL_FAMILIES)))
_PREFIXED = re.compile(r"([a-z][a-z_-]{1,20})[/:]([A-Za-z0-9][A-Za-z0-9._:/@-]{1,100})")
MIN_MODEL, MAX_MODEL = 2, 128


def provider_of_model(text: str) -> str | None:
    """Return whose model `text` names, if the whole of it is a model's name; `provider/name` counts."""
    if not MIN_MODEL <= len(text) <= MAX_MODEL:
        return None
    match = _MODEL_NAME.fullmatch(text)
    if match:
        return MODEL_FAMILIES[int((match.lastgroup or "m0")[1:])][0]
    prefixed = _PREFIXED.fullmatch(text)
    if prefixed and prefixed[1] in _PREFIXES and provider_of_model(prefixed[2].rpartition("/")[2]):
        return _PREFIXES[prefixed[1]]
    return None


# --- keys by the name of the variable that holds them ----------------------------------------------------------------

KEY_VARIABLES: Mapping[str, str] = {
    "OPENAI_API_KEY": "openai",
    "ANTHROPIC_API_KEY": "anthropic",
    "ANTHROPIC_AUTH_TOKEN": "anthropic",
    "CLAUDE_CODE_OAUTH_TOKEN": "anthropic",
    "CLAUDE_API_KEY": "anthropic",
    "GEMINI_API_KEY": "google",
    "GOOGLE_GENERATIVE_AI_API_KEY": "google",
    "GOOGLE_GENAI_API_KEY": "google",
    "AZURE_OPENAI_API_KEY": "azure-openai",
    "AZURE_OPENAI_KEY": "azure-openai",
    "MISTRAL_API_KEY": "mistral",
    "COHERE_API_KEY": "cohere",
    "CO_API_KEY": "cohere",
    "GROQ_API_KEY": "groq",
    "OPENROUTER_API_KEY": "openrouter",
    "DEEPSEEK_API_KEY": "deepseek",
    "TOGETHER_API_KEY": "together",
    "TOGETHERAI_API_KEY": "together",
    "PERPLEXITY_API_KEY": "perplexity",
    "FIREWORKS_API_KEY": "fireworks",
    "REPLICATE_API_TOKEN": "replicate",
    "HUGGINGFACEHUB_API_TOKEN": "huggingface",
    "HF_API_TOKEN": "huggingface",
    "XAI_API_KEY": "xai",
    "AWS_BEARER_TOKEN_BEDROCK": "aws-bedrock",
    "NVIDIA_API_KEY": "nvidia",
    "CEREBRAS_API_KEY": "cerebras",
}
