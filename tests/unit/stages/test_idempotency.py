"""Where keys mean something, what an entry is made of, and which answers tell for certain what Slurm did."""

import pytest

from gateway.denial import Denied, Reason
from gateway.model import Admission, AuthorizedCall, Risk
from gateway.stages.idempotency import (
    CheckKey,
    KeyEntry,
    MarkerField,
    Sending,
    begun_again,
    field_for,
    fresh_entry,
    is_conclusive,
)
from tests.fakes import FakeLease, make_call, make_identity, make_request, make_user
from tests.upstream_kit import CANCEL, READ, SUBMIT

ALLOCATE = make_call(
    "/slurm/{version}/job/allocate", Risk.ALLOCATE, "POST", changes_state=True, takes_body=True
)
SENDING = Sending("m", "this", 100.0)


def check(call: AuthorizedCall, media_type: str = "application/json", enabled: bool = True) -> None:
    request = make_request(idempotency_key="k", media_type=media_type)
    CheckKey(enabled=enabled)(request, call)


def test_a_submission_and_every_read_may_have_a_key() -> None:
    check(SUBMIT)
    check(READ, media_type="")
    check(READ, media_type="", enabled=False)


@pytest.mark.parametrize("call", [CANCEL, ALLOCATE])
def test_a_key_on_another_write_is_refused(call: AuthorizedCall) -> None:
    with pytest.raises(Denied) as caught:
        check(call)
    assert caught.value.reason is Reason.IDEMPOTENCY_KEY_UNSUPPORTED


def test_a_key_is_refused_where_keys_are_switched_off() -> None:
    with pytest.raises(Denied) as caught:
        check(SUBMIT, enabled=False)
    assert caught.value.reason is Reason.IDEMPOTENCY_KEY_UNSUPPORTED
    assert "switched off" in caught.value.detail


def test_a_yaml_body_cannot_have_a_key() -> None:
    with pytest.raises(Denied) as caught:
        check(SUBMIT, media_type="application/x-yaml")
    assert caught.value.reason is Reason.MEDIA_TYPE_UNSUPPORTED


def entry(key: str = "k", sha256: str = "00", **changes: object) -> KeyEntry:
    request = make_request(idempotency_key=key)
    call = changes.pop("call", SUBMIT)
    assert isinstance(call, AuthorizedCall)
    identity = make_identity(**changes)
    admission = Admission(request, identity, make_user(), call, FakeLease())
    return fresh_entry(admission, sha256, SENDING, 50.0)


def test_an_entry_names_nobody_and_says_how_long_it_lasts() -> None:
    made = entry(key="secret-key")
    assert "secret-key" not in repr(made)
    assert "subject-of-alice" not in repr(made)
    assert (made.begun, made.expires, made.user, made.answer) == (100.0, 150.0, "alice", None)


def test_each_key_subject_issuer_and_operation_has_an_entry_of_its_own() -> None:
    others = [
        entry(),
        entry(key="l"),
        entry(subject="s"),
        entry(issuer="https://other"),
        entry(subject="", client_id="c"),
        entry(call=ALLOCATE),
    ]
    assert len({one.key_hash for one in others}) == len(others)
    assert entry().key_hash == entry(sha256="11").key_hash


def test_issuer_and_subject_cannot_be_shifted_into_each_other() -> None:
    one, two = entry(issuer="ab", subject="c"), entry(issuer="a", subject="bc")
    assert one.identity_hash != two.identity_hash
    assert one.key_hash != two.key_hash


def test_another_body_or_another_target_is_another_request() -> None:
    older = SUBMIT._replace(target=b"/slurm/v0.0.37/job/submit")
    prints = {entry().fingerprint, entry(sha256="11").fingerprint, entry(call=older).fingerprint}
    assert len(prints) == 3
    assert entry(subject="s").fingerprint == entry().fingerprint


def test_what_is_begun_again_keeps_key_marker_and_first_request() -> None:
    first = entry()
    again = begun_again(first, entry(key="other"))
    assert again == first


@pytest.mark.parametrize(
    ("status", "codes", "ids", "conclusive"),
    [
        (200, (), ("7",), True),
        (200, ("-1",), ("7",), True),
        (200, (), (), False),
        (200, ("2000",), (), True),
        (400, (), (), True),
        (404, (), (), True),
        (400, ("9002",), (), True),
        (422, ("2000",), (), True),
        (500, ("2000",), (), True),
        (500, ("2000", "2001"), (), True),
        (500, ("6010",), (), True),
        (500, (), (), False),
        (500, ("-1",), (), False),
        (500, ("1800",), (), False),
        (500, ("1802",), (), False),
        (500, ("1003",), (), False),
        (500, ("5004",), (), False),
        (500, ("110",), (), False),
        (500, ("2000", "1800"), (), False),
        (422, ("1800",), (), False),
        (502, (), (), False),
    ],
)
def test_only_slurms_own_word_about_the_job_is_conclusive(
    status: int, codes: tuple[str, ...], ids: tuple[str, ...], conclusive: bool
) -> None:
    assert is_conclusive(status, codes, ids) is conclusive


@pytest.mark.parametrize(
    ("version", "wanted", "field"),
    [
        ("v0.0.35", "comment", "comment"),
        ("v0.0.45", "comment", "comment"),
        ("v0.0.39", "extra", "comment"),
        ("v0.0.40", "extra", "extra"),
        ("v0.0.45", "extra", "extra"),
    ],
)
def test_the_marker_goes_where_the_version_has_a_field(
    version: str, wanted: MarkerField, field: str
) -> None:
    assert field_for(SUBMIT._replace(version=version), wanted) == field
