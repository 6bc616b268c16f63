"""How a subset is found, once the rows are read: for a convex head, and for a whole network."""
