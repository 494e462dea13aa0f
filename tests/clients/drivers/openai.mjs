// The openai SDK of Node, with its default of base64.
import OpenAI from "openai";
import { key, many, model, one, refusal, several, unpacked, url, vectors } from "./report.mjs";

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 });
const embed = async (input, more = {}) =>
  (await client.embeddings.create({ model, input, ...more })).data.map((item) => item.embedding);

await vectors("text", [one], () => embed(one), "one");
await vectors("list", several, () => embed(several));
await vectors("many", many, () => embed(many));
await vectors("float", [one], () => embed(one, { encoding_format: "float" }), "one");
await vectors("base64", [one], async () => (await embed(one, { encoding_format: "base64" })).map(unpacked), "one");
await refusal("empty text", () => embed(["fine", ""]));
await refusal("unknown route", () => client.chat.completions.create({ model, messages: [] }));
