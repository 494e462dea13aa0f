"""huggingface_hub's inference clients, which post to the base URL itself."""
# mypy: ignore-errors

from huggingface_hub import AsyncInferenceClient, InferenceClient
from report import KEY, MANY, ONE, SEVERAL, URL, refusal, value, vectors

client = InferenceClient(model=URL, token=KEY)
later = AsyncInferenceClient(model=URL, token=KEY)
by_url = InferenceClient(token=KEY)
NEW_OPTIONS = {"truncate": True, "truncation_direction": "right"}

vectors("text", [ONE], lambda: client.feature_extraction(ONE))
vectors("list", SEVERAL, lambda: client.feature_extraction(SEVERAL))
vectors("many", MANY, lambda: client.feature_extraction(MANY))
vectors("base_url", [ONE], lambda: InferenceClient(base_url=URL, api_key=KEY).feature_extraction(ONE))
vectors("async text", [ONE], lambda: later.feature_extraction(ONE))
vectors("async list", SEVERAL, lambda: later.feature_extraction(SEVERAL))
vectors("options", [ONE], lambda: client.feature_extraction(ONE, normalize=True, **NEW_OPTIONS))
vectors("raw", [ONE], lambda: client.feature_extraction(ONE, normalize=False), options={"normalize": False})
vectors("dimensions", [ONE], lambda: client.feature_extraction(ONE, dimensions=32), options={"dimensions": 32})
value("similarity", lambda: client.sentence_similarity(SEVERAL[0], SEVERAL))
value(
    "similarity by its URL",
    lambda: InferenceClient(token=KEY).sentence_similarity(ONE, [ONE], model=f"{URL}/similarity"),
)
refusal("empty text", lambda: client.feature_extraction(["fine", ""]))
refusal("another kind of model", lambda: by_url.text_classification(ONE, model=f"{URL}/predict"))
