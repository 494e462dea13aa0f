"""Fuzzing of what reads bytes from outside: each module holds one target, and needs nothing but the service.

A target is ``check(data)``, which fails or raises on a finding, with its ``SEEDS`` and the ``TOKENS`` that mutations
may insert. ``python -m tests.fuzz`` runs them for a bounded time; ``requirements-fuzz.txt`` holds what that needs.
"""

TARGETS = (
    *("apis", "body", "detection", "floats", "http_reply", "openai", "openai_answer", "plain_answer", "reply"),
    *("upstream", "words", "settings"),
)
