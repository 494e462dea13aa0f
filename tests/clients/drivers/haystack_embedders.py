"""Haystack's embedders of texts and documents: through TEI's API and through OpenAI's."""
# mypy: ignore-errors

from haystack import Document
from haystack.components.embedders import OpenAIDocumentEmbedder, OpenAITextEmbedder
from haystack.utils import Secret
from haystack_integrations.components.embedders.huggingface_api import (
    HuggingFaceAPIDocumentEmbedder,
    HuggingFaceAPITextEmbedder,
)
from report import KEY, MANY, MODEL, ONE, SEVERAL, URL, vectors

tei = {"api_type": "text_embeddings_inference", "api_params": {"url": URL}, "token": Secret.from_token(KEY)}
openai = {"api_base_url": f"{URL}/v1", "api_key": Secret.from_token(KEY), "model": MODEL}
DEFAULTS = {"truncate": True, "normalize": False}


def documents(embedder, texts):
    made = embedder.run([Document(content=text) for text in texts])["documents"]
    return [document.embedding for document in made]


vectors("TEI text", [ONE], lambda: [HuggingFaceAPITextEmbedder(**tei).run(ONE)["embedding"]], options=DEFAULTS)
vectors(
    "TEI documents",
    SEVERAL,
    lambda: documents(HuggingFaceAPIDocumentEmbedder(**tei, progress_bar=False), SEVERAL),
    options=DEFAULTS,
)
vectors(
    "TEI many documents",
    MANY,
    lambda: documents(HuggingFaceAPIDocumentEmbedder(**tei, progress_bar=False), MANY),
    options=DEFAULTS,
)
vectors("OpenAI text", [ONE], lambda: [OpenAITextEmbedder(**openai).run(ONE)["embedding"]])
vectors("OpenAI documents", SEVERAL, lambda: documents(OpenAIDocumentEmbedder(**openai, progress_bar=False), SEVERAL))
