"""Gateway (the configuration) -> the part of it that one of several workers goes by."""

from math import ceil
from pathlib import Path

from gateway.config.audit import Audit, FileSink, Sink
from gateway.config.gateway import Gateway


def worker_directory(config: Gateway, number: int) -> Path:
    """Below the state directory; numbers begin with 1."""
    return config.server.state_directory / f"worker-{number}"


def part_of_worker(config: Gateway, number: int) -> Gateway:
    """With its own state and audit, and its part of what all of them together may have.

    `forward.connections` is shared out exactly, because slurmrestd hangs at one too many; queue, client
    connections and the cache's bytes are rounded up. What one identity may run at the same time is each worker's.
    """
    server, forward, limit = config.server, config.forward, config.limit
    workers = server.workers
    own = {
        "state_directory": worker_directory(config, number),
        "connections": ceil(server.connections / workers),
    }
    connections = forward.connections // workers + (number <= forward.connections % workers)
    return config.model_copy(
        update={
            "server": server.model_copy(update=own),
            "forward": forward.model_copy(update={"connections": connections}),
            "limit": limit.model_copy(update={"queue": ceil(limit.queue / workers)}),
            "cache": config.cache.model_copy(
                update={"maximum_bytes": ceil(config.cache.maximum_bytes / workers)}
            ),
            "audit": _audit_of_worker(config.audit, number),
        }
    )


def _audit_of_worker(audit: Audit, number: int) -> Audit:
    """One chain a process, so one file a process: audit.jsonl of the second worker is audit.2.jsonl."""
    sinks = tuple(_sink_of_worker(sink, number) for sink in audit.sinks)
    return audit.model_copy(update={"sinks": sinks})


def _sink_of_worker(sink: Sink, number: int) -> Sink:
    if not isinstance(sink, FileSink):
        return sink
    return sink.model_copy(update={"path": path_of_worker(sink.path, number)})


def path_of_worker(path: Path, number: int) -> Path:
    """A name that is no other worker's, and none of a file that was rotated."""
    return path.with_name(f"{path.stem}.{number}{path.suffix}")
