"""Mutation tests: one small mistake at a time is planted, and the fast tests have to notice it.

mutmut plants them and runs, for each, the fast tests that reach the place. ``python -m tests.mutation`` does so on a
copy of the checkout and prints which mutants no test noticed, with their line and what was changed in it.

What it cannot say: mutmut changes the bodies of functions and methods only, so properties, generators behind a
decorator and the constants of modules and classes go untried.
"""

#: The modules that decide or keep state, as paths without their ending. The transport, which speaks HTTP, is fuzzed and
#: tested against sockets instead.
MODULES = (
    "batching/batcher",
    "batching/budget",
    "batching/call",
    "batching/capacity",
    "batching/isolation/bisection",
    "batching/isolation/isolation",
    "batching/isolation/rejection_rate",
    "batching/isolation/verdicts",
    "batching/outcomes",
    "batching/queue/admission",
    "batching/queue/batch_queue",
    "batching/queue/composition",
    "batching/queue/endings",
    "batching/queue/in_flight",
    "batching/queue/lanes",
    "batching/queue/padding",
    "batching/queue/wakeups",
    "batching/relay",
    "batching/timing/adaptive",
    "batching/timing/learning",
    "batching/timing/rule",
    "formats/bounded",
    "formats/slices",
    "upstream/breaker",
    "upstream/clamp",
    "upstream/dialects/tei",
    "upstream/monitor",
    "upstream/pool",
    "upstream/readiness",
    "upstream/window",
)

#: The tests that are run: they mirror these modules and take milliseconds each. Random tests (the queue's model,
#: integrity) would notice more mutants, but not the same ones every time.
TESTS = (
    "batching",
    "formats",
    "upstream/dialects",
    "upstream/test_breaker.py",
    "upstream/test_clamp.py",
    "upstream/test_monitor.py",
    "upstream/test_pool.py",
    "upstream/test_pool_capacity.py",
    "upstream/test_pool_ejection.py",
    "upstream/test_readiness.py",
    "upstream/test_window.py",
)
#: Files of these that are not run: they are random or slow.
LEFT_OUT = ("batching/queue/test_model.py", "batching/test_integrity.py")
