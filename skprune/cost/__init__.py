"""Estimate the time and memory of a pruning before it begins."""
