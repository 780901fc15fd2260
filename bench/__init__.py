"""Benchmarks: each one command that prints a table and ends with one line of JSON."""
