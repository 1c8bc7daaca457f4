"""An operation -> whether its answers may stay in memory for a while."""

from gateway.model import Operation, Risk

KEPT = frozenset({Risk.READ, Risk.READ_HEAVY, Risk.READ_ACCOUNTING})
"""Not READ-SENSITIVE and READ-BULK: scripts, environments and whole databases are kept for nobody."""


def may_be_kept(operation: Operation) -> bool:
    """Versioned reads; the OpenAPI documents are the gateway's own, and kept in another way."""
    is_read = operation.method == "GET" and not operation.changes_state
    return is_read and operation.risk in KEPT and "{version}" in operation.template
