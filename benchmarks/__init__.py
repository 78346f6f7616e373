"""Benchmarks: problems, one adapter per rival, measurement, running and reporting as separate steps."""
