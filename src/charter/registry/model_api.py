"""The operations of model providers' APIs that principals reach through the gateway, and what they cost.

    systems/models.yaml
      kind: model
      provider: openai
      upstream: {transport: http, url: "https://api.openai.com/v1", credential: {type: bearer, secret: "vault:openai"}}
      prices: {"gpt-*": {input: 2.50 USD, output: 10 USD}}
      actions:
        chat: {tool: chat.completions, effect: read}

`tool` is the operation. Prices are per million tokens; the first pattern that fits a model counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Final

from pydantic import AfterValidator, StringConstraints

from charter.registry.field import Model, Quantity

MODEL_OBJECT: Final = "model/{model}"
MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: where it is below the provider's base address, and whose API it is."""

    path: str
    is_anthropic: bool = False
    asks: bool = True  # whether it has a body that asks a model
    says: bool = True  # whether somebody speaks in it: what is embedded can be anybody's text


OPERATIONS: Final = {
    "chat.completions": Operation("/chat/completions"),
    "responses": Operation("/responses"),
    "embeddings": Operation("/embeddings", says=False),
    "models": Operation("/models", asks=False),
    "messages": Operation("/messages", is_anthropic=True),
    "count_tokens": Operation("/messages/count_tokens", is_anthropic=True),
}
BY_PATH: Final = {each.path: name for name, each in OPERATIONS.items()}


def _money(value: Quantity) -> Quantity:
    if value.unit is None or value.value < 0:
        raise ValueError("is no price; write an amount and a currency, as in 2.50 USD")
    return value


Price = Annotated[Quantity, AfterValidator(_money)]
ModelPattern = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=128)]


class Prices(Model):
    """What a million tokens of a model cost."""

    input: Price
    output: Price

    def cost(self, input_tokens: int, output_tokens: int) -> Decimal:
        """Return what so many tokens cost, in the prices' currency."""
        return (self.input.value * input_tokens + self.output.value * output_tokens) / MILLION


def prices_of(table: dict[str, Prices] | None, model: str) -> Prices | None:
    """Return the prices of a model: those of the first pattern that fits."""
    for pattern, prices in (table or {}).items():
        head, star, tail = pattern.partition("*")
        fits = model == pattern if not star else model.startswith(head) and model.endswith(tail)
        if fits:
            return prices
    return None
