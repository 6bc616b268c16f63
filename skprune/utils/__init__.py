"""Helpers for all rooms: caches, files, devices, threads, seeds, exceptions."""
