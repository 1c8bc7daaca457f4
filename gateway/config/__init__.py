"""gateway.toml as frozen models: one section for each stage, in order, plus `server`."""
