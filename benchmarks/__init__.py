"""Benchmarks: each case runs both sides in one go. `make bench`, or `python -m benchmarks CASE ...`."""
