"""Rows by position, of anything: arrays, frames, sparse matrices, torch and hub datasets."""
