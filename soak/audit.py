"""The audit's files, plain, rotated and compressed -> which requests and which jobs they name."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Audited:
    """`jobs` are the job ids in the records of each request id; `broken_lines` are no JSON."""

    jobs: dict[str, set[str]] = field(default_factory=dict)
    broken_lines: int = 0


def read_audit(folder: Path) -> Audited:
    """All records, whether a request has one or several, in whatever order the files are."""
    audited = Audited()
    for line in _lines(folder):
        try:
            record = json.loads(line)
        except ValueError:
            audited.broken_lines += 1
            continue
        request_id = record.get("request_id", "")
        if request_id:  # other records are about the gateway itself
            audited.jobs.setdefault(request_id, set()).update(map(str, record.get("job_ids", [])))
    return audited


def _lines(folder: Path) -> Iterator[bytes]:
    for path in sorted(folder.glob("audit*.jsonl*")):
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        yield from (line for line in content.rstrip(b"\0").splitlines() if line.strip(b"\0 "))
