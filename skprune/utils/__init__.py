"""What every room may use: caches, files, devices, threads, seeds, exceptions."""
