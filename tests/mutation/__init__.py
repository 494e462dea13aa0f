"""Small mistakes planted in the engine one at a time: its own tests have to notice them.

mutmut plants them and runs, for each, the fast tests that reach the place. ``python -m tests.mutation`` does so on a
copy of the checkout and prints which mutants nobody noticed, with their line and what was changed in it.

What it cannot say: mutmut changes the bodies of functions and methods only, so properties, generators behind a
decorator and the constants of modules and classes go untried.
"""

#: The modules that decide or keep state. Those that speak HTTP to the upstream are fuzzed and tested against sockets.
MODULES = (
    "adaptive",
    "batch_queue",
    "batcher",
    "bisection",
    "breaker",
    "budget",
    "call",
    "isolation",
    "learning",
    "monitor",
    "padding",
    "pool",
    "relay",
    "reply",
    "timing",
    "verdicts",
)

#: The tests that may notice: those that mirror the engine and take milliseconds each. Those that are random
#: (the queue's model, integrity) would notice more, but not every time.
TESTS = (
    "test_batch_queue.py",
    "test_batcher.py",
    "test_bisection.py",
    "test_breaker.py",
    "test_engine_edges_*.py",
    "test_isolation.py",
    "test_monitor.py",
    "test_pool.py",
    "test_reply.py",
    "test_timing.py",
)
