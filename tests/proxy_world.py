"""A proxy among fakes: what a test of it sets up and looks at."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from gateway.edges.own_answers import only_own_jobs
from gateway.edges.spool import Spool
from gateway.model import AuditRecord, AuthorizedCall, Identity, InboundRequest, Lease
from gateway.pipeline import Pipeline, Slots
from gateway.stages.receive import Receive
from gateway.stages.receive_body import CheckBody
from gateway.web.proxy import Proxy
from gateway.web.relay import BodyDeadlines
from gateway.web.serving import Serving
from tests.asgi_client import AsgiClient
from tests.fakes import FakeLease, make_credential, make_identity, make_user
from tests.upstream_kit import READ, FakeUpstream, Plan


class World:
    """A proxy among fakes; `fails` maps a stage to what it raises."""

    def __init__(
        self, plan: Plan | None = None, fails: Mapping[str, BaseException] | None = None
    ) -> None:
        self.upstream = FakeUpstream(plan or Plan())
        self.fails = fails or {}
        self.waits: Collection[str] = ()
        """Stages that do not have their answer at hand."""
        self.records: list[AuditRecord] = []
        self.slots: Slots | None = None
        """Real slots, in the place of one that everybody gets."""
        self.when_closing: Callable[[], object] = lambda: None
        self.opened = 0
        self.ended = 0
        self.leased = 0
        self.lease, self.slot = FakeLease(), FakeLease()
        self.closing: asyncio.Event | None = None
        self.waiting_for_slot: asyncio.Event | None = None
        self.call: AuthorizedCall = READ
        self.authorizes: Callable[[InboundRequest], AuthorizedCall] = lambda _: self.call
        self.time = 1_800_000_000.0
        self.proxy = Proxy(lambda: self.serving, now=lambda: self.time)
        self.serving = self._serving()

    def _serving(self) -> Serving:
        check_body = CheckBody(1000, {})
        pipeline = Pipeline(
            authenticate=self._stage("authenticate", make_identity()),
            map_user=self._stage("map_user", make_user()),
            authorize=self._authorize,
            check_body=check_body,
            limit=self._stage("limit", self.lease),
            body_rules=self._stage("body_rules", None),
            slots=self,
            credential=self._stage("credential", make_credential()),
            own_jobs=self._stage("own_jobs", None),
            audit=self.Audit(self),
        )
        receive = Receive()
        deadlines = BodyDeadlines(0.5, 5)
        return Serving(
            receive,
            pipeline,
            self.upstream,
            Spool(100, Path("/tmp")),  # noqa: S108  # no file is made: bodies here are small
            check_body.limit_for,
            deadlines,
            1000,
            only_own_jobs,
        )

    def _stage(self, name: str, answer: Any) -> Any:
        async def stage(*_: object) -> Any:
            if name in self.fails:
                raise self.fails[name]
            if name in self.waits:
                await asyncio.sleep(0)
            if name == "limit":
                self.leased += 1
            return answer

        return stage

    def _authorize(
        self, request: InboundRequest, identity: Identity, user: object
    ) -> AuthorizedCall:
        if "authorize" in self.fails:
            raise self.fails["authorize"]
        return self.authorizes(request)

    async def acquire(self, identity: Identity) -> Lease:
        if self.slots is not None:
            return await self.slots.acquire(identity)
        if self.waiting_for_slot is not None:
            await self.waiting_for_slot.wait()
        if "slots" in self.fails:
            raise self.fails["slots"]
        return self.slot

    class Audit:
        def __init__(self, world: "World") -> None:
            self.world = world

        async def open(self, record: AuditRecord) -> None:
            self.begin(record)

        async def settle(self) -> None:
            if self.world.closing is not None and self.world.records:
                await self.world.closing.wait()

        def begin(self, record: AuditRecord, _unwritten: object = None) -> bool:
            self.world.opened += 1
            if "open" in self.world.fails:
                raise self.world.fails["open"]
            return self.world.closing is not None

        def flush(self) -> None:
            """It is said to be written at once."""

        async def close(self, record: AuditRecord) -> None:
            self._close(record)
            if self.world.closing is not None:
                await self.world.closing.wait()
            self._fail()

        def end(self, record: AuditRecord) -> bool:
            self._close(record)
            self._fail()
            return self.world.closing is not None

        def _close(self, record: AuditRecord) -> None:
            self.world.records.append(record)
            self.world.when_closing()

        def _fail(self) -> None:
            if "close" in self.world.fails:
                raise self.world.fails["close"]

    def end(self) -> None:
        self.ended += 1

    async def serve(self, client: AsgiClient) -> AuditRecord:
        """The request's one record, with everything given back."""
        await self.proxy(client.scope, client.receive, client.send)
        return self.only_record()

    def only_record(self) -> AuditRecord:
        assert len(self.records) == 1
        return self.records[0]

    def assert_nothing_is_held(self) -> None:
        assert self.lease.released == self.leased
        if self.upstream.grants:
            assert self.slot.released >= 1
