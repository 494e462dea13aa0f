"""What is known of hosted servers by their names: how much a call may hold, and how they are asked."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit


class Preset(NamedTuple):
    """What holds for one provider's embeddings. A limit that is not known is None; refusals lower those that are."""

    #: Inputs of one call, and tokens of them together.
    most_items: int | None = None
    most_tokens: int | None = None
    #: Whether it answers base64 where ``encoding_format`` asks for it, or at least takes the member.
    takes_base64: bool = True
    #: Whether the key stands in ``api-key`` instead of ``Authorization``.
    has_key_header: bool = False


UNKNOWN_HOST = Preset()

_AZURE = Preset(2048, has_key_header=True)
_VERTEX = Preset(250, 20_000, takes_base64=False)
#: By the end of the host's name. The limits are those of a call; none of these tells them itself.
_BY_HOST: dict[str, Preset] = {
    # openai-python: 2048 inputs, 300,000 tokens together; OpenAI estimates them as bytes / 4, says pgai
    "api.openai.com": Preset(2048, 300_000),
    # azure-ai-docs: arrays of 2048; each input has 8,192 tokens at most
    "openai.azure.com": _AZURE,
    "cognitiveservices.azure.com": _AZURE,
    "services.ai.azure.com": _AZURE,
    # Voyage's documentation: lists of 1000; 120,000 tokens for the large models, which is the least of all models
    "api.voyageai.com": Preset(1000, 120_000),
    # refly#831. Jina takes encoding_format and answers numbers; what asks it for base64 is embedding_type
    "api.jina.ai": Preset(2048),
    # edgequake-llm#74 ("Too many inputs", 3210), LLPhant#159 ("Too many tokens in batch")
    "api.mistral.ai": Preset(512, 16_384),
    # langchain#21188
    "api.deepinfra.com": Preset(1024),
    # Scaleway's documentation
    "api.scaleway.ai": Preset(2048),
    # memobase#142 ("batch size is invalid, it should not be larger than 10")
    "dashscope.aliyuncs.com": Preset(10),
    "dashscope-intl.aliyuncs.com": Preset(10),
    # gel#9032 ("at most 100 requests can be in one batch"), Roo-Code#7761: its OpenAI route refuses base64 with 400
    "generativelanguage.googleapis.com": Preset(100, takes_base64=False),
    # onyx#2343 ("250 instance(s) is allowed"); more than 20,000 tokens are a 500 there
    "aiplatform.googleapis.com": _VERTEX,
    # cohere-developer-experience: 96 texts, on its OpenAI route as well
    "api.cohere.ai": Preset(96),
    "api.cohere.com": Preset(96),
    # Workers AI's documentation: 100 texts
    "api.cloudflare.com": Preset(100),
    # honcho#932: 200 with empty data for base64
    "openrouter.ai": Preset(takes_base64=False),
}


def preset_of(base_url: str) -> Preset:
    """Return what is known of the server at this address; ``UNKNOWN_HOST`` where that is nothing.

    The name of a host counts from its end, by whole labels: Azure's, Vertex' and others have the customer's or the
    region's in front.
    """
    host = (urlsplit(base_url).hostname or "").rstrip(".")
    labels = host.split(".")
    names = (".".join(labels[at:]) for at in range(len(labels) - 1))
    found = next((preset for name in names if (preset := _BY_HOST.get(name)) is not None), None)
    if found is None and host.endswith("-aiplatform.googleapis.com"):  # the region is a part of the label
        return _VERTEX
    return found or UNKNOWN_HOST
