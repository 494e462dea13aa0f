"""The embedded server: a small server round a real model that speaks TEI's API and OpenAI's, a child of the proxy.

It is for demonstration and small loads, not a production model server.
On purpose it never batches across requests, so that the proxy's batching has a measurable effect.
Nothing is imported here, so that the proxy can import `embedded.supervisor` without numpy or onnxruntime.
"""

__version__ = "1.0.0"
