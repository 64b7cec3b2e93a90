"""cluster of the lab."""
