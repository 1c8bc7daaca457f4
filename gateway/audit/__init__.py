"""The audit's lines, their chain, and the order in which they reach the sinks. No I/O of its own."""
