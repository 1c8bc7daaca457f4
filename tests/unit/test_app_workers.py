"""server.workers -> the part of the configuration that each worker goes by."""

from pathlib import Path

import pytest

from gateway.app_workers import part_of_worker, path_of_worker
from gateway.config.audit import FileSink
from lab.toml_text import Settings, merged
from tests.configurations import configuration

SEVERAL: Settings = {
    "store": {"address": "unix:/run/valkey.sock"},
    "audit": {
        "sinks": [
            {"type": "file", "path": "/var/log/audit.jsonl"},
            {"type": "syslog", "address": "unix:/dev/log"},
        ]
    },
}


@pytest.mark.parametrize(
    ("connections", "workers", "parts"),
    [(50, 4, [13, 13, 12, 12]), (4, 4, [1, 1, 1, 1]), (7, 2, [4, 3]), (5, 1, [5])],
)
def test_connections_to_slurmrestd_are_shared_out_to_the_last_one(
    connections: int, workers: int, parts: list[int]
) -> None:
    changes = {"server": {"workers": workers}, "forward": {"connections": connections}}
    config = configuration(merged(SEVERAL, changes))
    numbers = range(1, workers + 1)
    assert [part_of_worker(config, one).forward.connections for one in numbers] == parts


def test_queues_client_connections_and_the_cache_are_rounded_up() -> None:
    server = {"workers": 3, "connections": 100}
    changes = {"server": server, "limit": {"queue": 10}, "cache": {"maximum_bytes": 1000}}
    part = part_of_worker(configuration(merged(SEVERAL, changes)), 3)
    assert (part.server.connections, part.limit.queue, part.cache.maximum_bytes) == (34, 4, 334)


def test_state_and_audit_are_each_workers_own_and_nothing_else_differs() -> None:
    config = configuration(merged(SEVERAL, {"server": {"workers": 2}}))
    first, second = (part_of_worker(config, number) for number in (1, 2))
    assert first.server.state_directory == config.server.state_directory / "worker-1"
    files = [
        sink.path
        for part in (first, second)
        for sink in part.audit.sinks
        if isinstance(sink, FileSink)
    ]
    assert files == [Path("/var/log/audit.1.jsonl"), Path("/var/log/audit.2.jsonl")]
    assert first.audit.sinks[1] == config.audit.sinks[1]
    for name in type(config).model_fields:
        if name not in ("server", "forward", "limit", "cache", "audit"):
            assert getattr(first, name) == getattr(config, name)


def test_a_workers_file_is_no_rotated_file_of_another() -> None:
    assert path_of_worker(Path("/log/audit"), 2) == Path("/log/audit.2")
    assert "-" not in path_of_worker(Path("/log/audit.jsonl"), 12).name
