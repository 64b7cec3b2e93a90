"""apiserver of the lab."""
