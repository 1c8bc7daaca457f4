"""(InboundRequest, AuthorizedCall) -> does the announced body fit the operation?"""

from collections.abc import Mapping

from gateway.denial import Denied, Reason
from gateway.model import AuthorizedCall, InboundRequest


class CheckBody:
    """A body only where the operation takes one, and no larger than it may be.

    `by_operation` holds smaller caps in bytes by Operation.name ("POST /slurm/*/job/submit").
    """

    def __init__(self, maximum_body_bytes: int, by_operation: Mapping[str, int]) -> None:
        self._maximum_body_bytes = maximum_body_bytes
        self._by_operation = {
            name: min(cap, maximum_body_bytes) for name, cap in by_operation.items()
        }

    def __call__(self, request: InboundRequest, call: AuthorizedCall) -> None:
        """Raises Denied(BODY_UNEXPECTED, BODY_REQUIRED or BODY_TOO_LARGE).

        Since Slurm 23.11 a body replaces the query string, on GET too, so that a body nobody
        expects would undo every check of the query.
        """
        length = request.length
        if length == 0:
            if request.method == "POST" and call.operation.takes_body:
                raise Denied(Reason.BODY_REQUIRED)
            return
        if request.method == "GET" or not call.operation.takes_body:
            raise Denied(Reason.BODY_UNEXPECTED)
        limit = self.limit_for(call)
        if length is not None and length > limit:
            detail = f"The body may have at most {limit} bytes here."
            raise Denied(Reason.BODY_TOO_LARGE, detail=detail)

    def limit_for(self, call: AuthorizedCall) -> int:
        """The largest body of this operation in bytes; holds while reading too, whatever was declared."""
        if not self._by_operation:
            return self._maximum_body_bytes
        return self._by_operation.get(call.operation.name, self._maximum_body_bytes)
