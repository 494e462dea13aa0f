#!/bin/sh
# curl, with each API's own body: one JSON object for each case, on standard output.
ask() { # case, path, body, the program's name of the answer's form, more options
  printf '{"case": "%s", "texts": ["a", "b"], "form": "%s", "answer": %s}\n' "$1" "$4" \
    "$(curl -sS --max-time 30 -H 'Content-Type: application/json' -H "Authorization: Bearer $SERVICE_KEY" $5 -d "$3" "$SERVICE_URL$2")"
}
ask own /embed '{"input": ["a", "b"]}' embeddings
ask tei /embed '{"inputs": ["a", "b"]}' rows
ask 'base URL' / '{"inputs": ["a", "b"]}' rows
ask invocations /invocations '{"inputs": ["a", "b"], "truncate": true}' rows
ask openai /v1/embeddings '{"input": ["a", "b"], "model": "any"}' data
ask kserve /v1/models/any:predict '{"instances": ["a", "b"]}' predictions
ask ollama /api/embed '{"input": ["a", "b"], "model": "any"}' embeddings
ask cohere /v1/embed '{"texts": ["a", "b"], "model": "any", "input_type": "search_query"}' embeddings
ask chunked /embed '{"inputs": ["a", "b"]}' rows '-H Transfer-Encoding:chunked'
ask 'HTTP/1.0' /embed '{"inputs": ["a", "b"]}' rows --http1.0
# Not every build of curl can.
curl --version | grep -q HTTP2 && ask 'asks for HTTP/2' /embed '{"inputs": ["a", "b"]}' rows --http2
ask compressed /embed '{"inputs": ["a", "b"]}' rows --compressed
