"""What is examined: heads, and how the user's model and rows become one."""
