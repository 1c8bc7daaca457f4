"""The stages: pure steps that turn a request into a Grant or a Denial. No network, disk or framework."""
