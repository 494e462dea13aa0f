// Tells what a client got: a JSON object for each case, one a line, as report.py does.
export const url = process.env.SERVICE_URL;
export const model = process.env.SERVICE_MODEL;
export const key = process.env.SERVICE_KEY;
export const one = "How do birds find their way?";
export const several = ["first of several", "crème brûlée – 東京 ☂ 🚲", 'a "quoted" word, a \\ and a\ttab'];
export const many = Array.from({ length: 50 }, (_, number) => `sentence number ${number}`);

const say = (told) => console.log(JSON.stringify(told));

export async function vectors(name, texts, call, bits = null) {
  try {
    say({ case: name, texts, vectors: (await call()).map((row) => Array.from(row)), options: {}, bits });
  } catch (error) {
    say({ case: name, error: `${error.name}: ${error.message}` });
  }
}

export async function refusal(name, call) {
  try {
    say({ case: name, error: `was answered: ${JSON.stringify(await call()).slice(0, 200)}` });
  } catch (error) {
    say({ case: name, refusal: error.message, class: error.constructor.name });
  }
}

export function unpacked(text) {
  const raw = Buffer.from(text, "base64");
  return Array.from({ length: raw.length / 4 }, (_, place) => raw.readFloatLE(4 * place));
}
