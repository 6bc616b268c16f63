"""Results as plain values: the gap, the report, and the picture of the sizes that were tried."""
