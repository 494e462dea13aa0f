"""When a batch is sent: decisions, without threads and without looking at a clock."""
