"""What a subset costs, by level: predicted, refitted, retrained."""
