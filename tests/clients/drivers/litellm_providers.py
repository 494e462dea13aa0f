"""litellm's embedding() through the providers that are pointed at a server of one's own."""
# mypy: ignore-errors

import litellm
from report import KEY, MODEL, ONE, SEVERAL, URL, vectors

litellm.suppress_debug_info = True
PROVIDERS = {
    "openai": {"model": f"openai/{MODEL}", "api_base": f"{URL}/v1"},
    "infinity": {"model": f"infinity/{MODEL}", "api_base": URL},
    "hosted_vllm": {"model": f"hosted_vllm/{MODEL}", "api_base": f"{URL}/v1"},
    # Without input_type it asks a hub what the model is for.
    "huggingface": {"model": "huggingface/BAAI/bge-small-en-v1.5", "api_base": URL, "input_type": "embed"},
    "ollama": {"model": "ollama/all-minilm", "api_base": URL},
    "cohere": {"model": "cohere/embed-english-v3.0", "api_base": f"{URL}/v1/embed"},
}


def embedded(answer):
    return [item["embedding"] for item in sorted(answer.data, key=lambda item: item["index"])]


async def embedded_later(provider):
    return embedded(await litellm.aembedding(**provider, input=SEVERAL, api_key=KEY))


for name, provider in PROVIDERS.items():
    vectors(f"{name} text", [ONE], lambda each=provider: embedded(litellm.embedding(**each, input=[ONE], api_key=KEY)))
    vectors(f"{name} async list", SEVERAL, lambda each=provider: embedded_later(each))
