"""Measuring tools: a simulated accelerator, a load generator, comparisons and their peers."""
