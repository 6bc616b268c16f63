"""Torch networks: the module, its layers and parameters, and its per-row gradients."""
