"""JSON of slurmrestd's, which may hold bytes that are no UTF-8 -> its value, with U+FFFD for those.

Slurm keeps a job's name or comment as bytes, and slurmrestd writes them as they are. One such job is no reason
to refuse a whole list. What goes out as it came keeps its bytes.
"""

from typing import Any

import orjson


def loads(raw: bytes | memoryview) -> Any:
    """Raises orjson.JSONDecodeError."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return orjson.loads(bytes(raw).decode("utf-8", "replace"))
