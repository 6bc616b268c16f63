"""What rows pull at: the influence operator, and what leaving rows out does."""
