"""Measurements in one command: `python -m benchmarks [NAME ...]`. Ratios within one run count, times do not."""
