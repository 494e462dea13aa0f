"""A sentence-transformers model behind FastAPI, in the fewest lines: ``uvicorn plain_server:app``."""
# mypy: ignore-errors

import os

from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

app = FastAPI()
model = SentenceTransformer(os.environ["MODEL_FOLDER"], device="cpu")


class Texts(BaseModel):
    inputs: list[str]


@app.post("/embed")
def embed(body: Texts):
    if os.environ["BAD_TEXT"] in body.inputs:
        raise ValueError("cannot embed this")
    return model.encode(body.inputs, normalize_embeddings=True).tolist()
