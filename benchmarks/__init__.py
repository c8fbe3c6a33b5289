"""Measurements: what the layer costs, in figures that can be made again. `make bench` runs them."""
