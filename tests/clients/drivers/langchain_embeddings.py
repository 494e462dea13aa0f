"""LangChain's OpenAIEmbeddings, told to send texts."""
# mypy: ignore-errors

from langchain_openai import OpenAIEmbeddings
from report import KEY, MANY, MODEL, ONE, SEVERAL, URL, vectors

common = {"model": MODEL, "base_url": f"{URL}/v1", "api_key": KEY, "check_embedding_ctx_length": False}
made = OpenAIEmbeddings(**common)
vectors("query", [ONE], lambda: [made.embed_query(ONE)])
vectors("documents", SEVERAL, lambda: made.embed_documents(SEVERAL))
vectors("many documents", MANY, lambda: made.embed_documents(MANY))
vectors("async documents", SEVERAL, lambda: made.aembed_documents(SEVERAL))
vectors(
    "dimensions",
    [ONE],
    lambda: [OpenAIEmbeddings(**common, dimensions=32).embed_query(ONE)],
    options={"dimensions": 32},
)
