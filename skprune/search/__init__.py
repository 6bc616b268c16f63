"""The smallest size whose gap is allowed."""
