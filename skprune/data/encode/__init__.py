"""Columns of numbers, dates and text as numbers, for what examines the rows."""
