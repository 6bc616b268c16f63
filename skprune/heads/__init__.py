"""The convex special case: features, objective and optimum of a linear head."""
