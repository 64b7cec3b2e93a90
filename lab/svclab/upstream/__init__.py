"""upstream of the lab."""
