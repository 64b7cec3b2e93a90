"""kubelet of the lab."""
