"""Certificate and key files -> a TLS context, and a new pair for one in use."""

import ssl
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from gateway.web.tls import TlsError, new_context, read_pair, use_pair

AUTHORITY = trustme.CA()


def write_pair(folder: Path, *names: str, ends: datetime | None = None) -> tuple[Path, Path]:
    leaf = AUTHORITY.issue_cert(*(names or ("localhost",)), not_after=ends)
    certificate, key = folder / "tls.crt", folder / "tls.key"
    certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    key.write_bytes(leaf.private_key_pem.bytes())
    key.chmod(0o600)
    return certificate, key


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """Both ends in memory; the client's side after it has seen the server's certificate."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    for _ in range(5):
        for side in (theirs, ours):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return theirs


def trusting_client() -> ssl.SSLContext:
    client = ssl.create_default_context()
    AUTHORITY.configure_trust(client)
    client.set_alpn_protocols(["h2", "http/1.1"])
    return client


def test_a_client_gets_tls_1_2_or_newer_and_http_1_1(tmp_path: Path) -> None:
    server = new_context(read_pair(*write_pair(tmp_path)))
    session = handshake(server, trusting_client())
    assert session.version() == "TLSv1.3"
    assert session.selected_alpn_protocol() == "http/1.1"
    assert server.minimum_version is ssl.TLSVersion.TLSv1_2


def test_tls_1_2_has_forward_secrecy_only(tmp_path: Path) -> None:
    server = new_context(read_pair(*write_pair(tmp_path)))
    client = trusting_client()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    session = handshake(server, client)
    cipher = session.cipher()
    assert cipher is not None
    assert cipher[0].startswith("ECDHE-")
    client.set_ciphers("AES128-SHA256:AES256-GCM-SHA384")
    with pytest.raises(ssl.SSLError):
        handshake(server, client)


def test_a_context_in_use_takes_a_new_pair(tmp_path: Path) -> None:
    server = new_context(read_pair(*write_pair(tmp_path)))
    before = handshake(server, trusting_client()).getpeercert(binary_form=True)
    use_pair(server, read_pair(*write_pair(tmp_path)))
    after = handshake(server, trusting_client()).getpeercert(binary_form=True)
    assert before != after


def test_a_pair_knows_its_names_and_its_end(tmp_path: Path) -> None:
    ends = datetime.now(UTC) + timedelta(days=10)
    pair = read_pair(*write_pair(tmp_path, "slurm.example.org", "192.0.2.1", ends=ends))
    assert pair.names == ("slurm.example.org", "192.0.2.1")
    assert 9.9 < pair.days_left(datetime.now(UTC).timestamp()) <= 10
    assert "PRIVATE" not in repr(pair)


@pytest.mark.parametrize("damage", ["other key", "no file", "no PEM", "open key", "encrypted"])
def test_a_pair_that_cannot_be_used_says_why_and_nothing_of_the_key(
    damage: str, tmp_path: Path
) -> None:
    certificate, key = write_pair(tmp_path)
    secret = key.read_text().splitlines()[1]
    expected = {
        "other key": "key values mismatch",
        "no file": "cannot be read: No such file",
        "no PEM": "no certificate chain in PEM",
        "open key": "chmod o=",
        "encrypted": "the private key is encrypted",
    }[damage]
    if damage == "other key":
        key.write_bytes(AUTHORITY.issue_cert("localhost").private_key_pem.bytes())
    elif damage == "no file":
        key.unlink()
    elif damage == "no PEM":
        certificate.write_text("hello")
    elif damage == "open key":
        key.chmod(0o604)
    else:
        private = load_pem_private_key(key.read_bytes(), None)
        key.write_bytes(
            private.private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")
            )
        )
    with pytest.raises(TlsError) as caught:
        read_pair(certificate, key)
    assert expected in str(caught.value)
    assert secret not in str(caught.value)
