"""When a batch is sent: decisions that are told the time, start no thread and hold no lock."""
