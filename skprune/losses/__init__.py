"""Losses of rows: value, gradient and curvature in the outputs."""
