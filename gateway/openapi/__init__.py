"""slurmrestd's own OpenAPI document -> the one that is true for a caller of the gateway. Pure."""
