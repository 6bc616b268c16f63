"""Rows by position, of arrays, frames, sparse matrices, torch and Hugging Face datasets."""
