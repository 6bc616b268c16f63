"""What a pruning will take, before any work."""
