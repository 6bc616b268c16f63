"""One file a method that predicts removal, run as a process; `task` is what they share."""
