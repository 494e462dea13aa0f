// The AI SDK with its provider for servers that speak OpenAI's API.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embed, embedMany } from "ai";
import { key, many, model, one, several, url, vectors } from "./report.mjs";

const provider = createOpenAICompatible({ name: "proxy", baseURL: `${url}/v1`, apiKey: key });
const found = provider.embeddingModel ? provider.embeddingModel(model) : provider.textEmbeddingModel(model);
await vectors("text", [one], async () => [(await embed({ model: found, value: one, maxRetries: 0 })).embedding]);
await vectors("list", several, async () => (await embedMany({ model: found, values: several, maxRetries: 0 })).embeddings);
await vectors("many", many, async () => (await embedMany({ model: found, values: many, maxRetries: 0 })).embeddings);
