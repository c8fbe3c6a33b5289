"""Benchmarks of the layer. `make bench` and its relatives run them and write docs/benchmarks.md."""
