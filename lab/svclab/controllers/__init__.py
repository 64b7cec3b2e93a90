"""controllers of the lab."""
