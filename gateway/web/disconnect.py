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
        client.watch(self._gone)

    def _gone(self) -> None:
        self.is_gone = True
        task = self._client.task()
        if self.is_cuttable and not self.was_cut and task is not None:
            self.was_cut = True
            task.cancel()

    def swallow_cancel(self) -> bool:
        """Whether the cancellation that has just been caught was ours; if so it is undone."""
        task = asyncio.current_task()
        if not self.was_cut or task is None:
            return False
        self.was_cut = False
        return task.uncancel() == 0

    def stop(self) -> None:
        """The request is over; nothing is watched any more."""
        self.is_cuttable = False
        self._client.unwatch()
