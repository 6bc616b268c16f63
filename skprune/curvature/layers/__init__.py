"""The curvatures of a network's layers, one file an approximation."""
