"""The gateway beside its peers: requests a second, latency, memory and CPU in one table."""
