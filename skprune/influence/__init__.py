"""The influence operator, and the predicted effect of leaving rows out."""
