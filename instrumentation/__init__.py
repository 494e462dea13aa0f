"""Listeners: what turns the engine's reports into metrics."""
