"""Mutation testing: change the product in small ways, one at a time, and see whether a test fails.

`make mutants`, or `python -m checks.mutants`. See CONTRIBUTING.md.
"""
