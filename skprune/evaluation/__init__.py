"""Measure the gap of a subset, at levels from cheap to expensive."""
