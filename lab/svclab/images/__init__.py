"""images of the lab."""
