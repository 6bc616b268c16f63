"""Losses of rows: their value, gradient and curvature in the outputs."""
