"""The edges: everything that touches the world, each filling one Protocol that stands beside its consumer."""
