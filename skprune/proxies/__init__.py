"""Proxies, which choose the rows: a convex head, or the layers of a network."""
