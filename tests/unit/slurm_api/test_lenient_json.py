"""One job whose comment is no UTF-8 ends nobody's list, and nobody's search for a lost submission."""

import orjson
import pytest

from gateway.edges.selected_answers import index_of, select_indexed, select_streamed
from gateway.edges.upstream_answer import Answer
from gateway.model import Admission, Selection
from gateway.slurm_api.job_owner import owner_of
from gateway.slurm_api.lenient_json import loads
from gateway.slurm_api.marked_job import Sought, find_job
from gateway.stages.forward import own_head
from tests.upstream_kit import make_grant

OF_BOB = b'{"job_id":1,"user_name":"bob","comment":"\xff"}'
OF_ALICE = b'{"job_id":2,"user_name":"alice","comment":"mine"}'
LIST = b'{"jobs":[%b,%b],"errors":[]}' % (OF_BOB, OF_ALICE)


def admission(*fields: str, user: str) -> Admission:
    wanted = (("user", frozenset({user})),)
    paths = tuple((field,) for field in fields)
    selection = Selection("GET /slurm/*/jobs", paths, wanted, 10, None)
    found = make_grant().admission
    return found._replace(call=found.call._replace(selection=selection))


async def selected(*fields: str, user: str) -> set[bytes]:
    """What a stream and an index give."""
    asked = admission(*fields, user=user)
    streamed = await select_streamed(asked, Answer(own_head(200, len(LIST), ()), LIST))
    page = await select_indexed(asked, await index_of(asked, LIST))
    indexed = b"".join((b'{"jobs":[', *page.pieces, b'],"errors":[]}'))
    return {streamed.whole or b"", indexed}


async def test_what_goes_out_whole_keeps_its_bytes() -> None:
    assert await selected(user="bob") == {b'{"jobs":[%b],"errors":[]}' % OF_BOB}
    assert await selected(user="alice") == {b'{"jobs":[%b],"errors":[]}' % OF_ALICE}


async def test_single_fields_are_written_anew() -> None:
    (shown,) = await selected("comment", user="bob")
    assert orjson.loads(shown)["jobs"] == [{"comment": "\ufffd"}]
    (shown,) = await selected("job_id", user="alice")
    assert orjson.loads(shown)["jobs"] == [{"job_id": 2}]


def test_whose_it_is_and_what_it_was_is_known() -> None:
    assert owner_of(OF_BOB).is_user("bob", None)
    sought = Sought("mine", "comment", "alice", None, frozenset(), 0.0)
    assert find_job(LIST, sought).job_id == 2


@pytest.mark.parametrize("raw", [b"", b"{", b'{"a":"\xff"', b"\xff", b'{"a":\xff}'])
def test_what_is_no_json_stays_none(raw: bytes) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        loads(raw)
