// @huggingface/inference, which posts to the base URL itself.
import { InferenceClient } from "@huggingface/inference";
import { key, many, one, several, url, vectors } from "./report.mjs";

const client = new InferenceClient(key, { retry_on_error: false }).endpoint(url);
await vectors("text", [one], () => client.featureExtraction({ inputs: one }));
await vectors("list", several, () => client.featureExtraction({ inputs: several }));
await vectors("many", many, () => client.featureExtraction({ inputs: many }));
