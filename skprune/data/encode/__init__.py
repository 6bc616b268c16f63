"""Encode columns of numbers, dates and text as numbers."""
