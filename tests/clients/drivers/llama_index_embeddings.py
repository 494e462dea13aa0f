"""LlamaIndex's clients of TEI, which sends texts without the space at their ends, and of OpenAI."""
# mypy: ignore-errors

from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference
from report import KEY, MANY, MODEL, ONE, SEVERAL, URL, vectors

made = TextEmbeddingsInference(model_name=MODEL, base_url=URL, auth_token=KEY)
stripped = [text.strip() for text in SEVERAL]


async def query_later():
    return [await made.aget_query_embedding(ONE)]


vectors("query", [ONE], lambda: [made.get_query_embedding(ONE)])
vectors("texts", stripped, lambda: made.get_text_embedding_batch(SEVERAL))
vectors("many texts", MANY, lambda: made.get_text_embedding_batch(MANY))
vectors("async query", [ONE], query_later)
vectors("async texts", stripped, lambda: made.aget_text_embedding_batch(SEVERAL))
openai = OpenAIEmbedding(model="text-embedding-3-small", api_base=f"{URL}/v1", api_key=KEY, max_retries=0)
vectors("OpenAI query", [ONE], lambda: [openai.get_query_embedding(ONE)])
vectors("OpenAI texts", SEVERAL, lambda: openai.get_text_embedding_batch(SEVERAL))
