"""The far side of the engine: endpoints, the pool that chooses among them, and the transport."""
