"""Long-running proofs of what the service promises: ``python -m tests.endurance NAME``, bounded in count and time."""
