"""What was found, as values that know nothing of how: gap, report, picture."""
