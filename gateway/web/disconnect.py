"""A client that hangs up -> its request is cancelled, as long as that is harmless."""

import asyncio

from gateway.web.client import Client


class ClientWatch:
    """Watches one client. While `is_cuttable`, its going away cancels the task that serves it."""

    is_gone = False
    is_cuttable = True
    was_cut = False

    def __init__(self, client: Client) -> None:
        self._client = client
        self._task = asyncio.current_task()
        client.watch(self._gone)

    def _gone(self) -> None:
        self.is_gone = True
        if self.is_cuttable and not self.was_cut and self._task is not None:
            self.was_cut = True
            self._task.cancel()

    def swallow_cancel(self) -> bool:
        """Whether the cancellation that has just been caught was ours; if so it is undone."""
        if not self.was_cut or self._task is None:
            return False
        self.was_cut = False
        return self._task.uncancel() == 0

    def stop(self) -> None:
        """The request is over; nothing is watched any more."""
        self.is_cuttable = False
        self._client.unwatch()
