"""demo of the lab."""
