"""Benchmarks of skprune."""
