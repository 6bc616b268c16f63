"""Torch networks: modules that are examined, their losses, curvatures and influence."""
