"""A gateway's address as people type it."""

import pytest

from gateway.client.place import gateway_url, profile_name
from gateway.client.trouble import Exit, Trouble


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("https://slurm.example.org", "https://slurm.example.org"),
        ("https://slurm.example.org/", "https://slurm.example.org"),
        ("slurm.example.org", "https://slurm.example.org"),
        (" HTTPS://Slurm.Example.org:8443/hpc/ ", "https://slurm.example.org:8443/hpc"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.0.0.1", "http://127.0.0.1"),
        ("http://[::1]:1", "http://[::1]:1"),
    ],
)
def test_an_address_has_one_form(typed: str, url: str) -> None:
    assert gateway_url(typed) == url


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("http://slurm.example.org", "not encrypted"),
        ("http://localhost.example.org", "not encrypted"),
        ("http://127.0.0.1@example.org", "no user, query or fragment"),
        ("ftp://slurm.example.org", "no URL"),
        ("", "no URL"),
        ("https://", "no URL"),
        ("https://[", "no URL"),
        ("https://slurm.example.org:port", "no URL"),
        ("https://slurm.example.org?x=1", "no user, query or fragment"),
        ("https://\x1b[31mslurm:x", "no URL"),
        ("https://slurm.example.org/$(reboot)", "no URL"),
        ("https://slurm.example.org/;reboot", "no URL"),
        ("https://slurm.example.org/a b", "no URL"),
        ("https://slurm.example.org`reboot`", "no URL"),
        ("file://localhost/etc/passwd", "no URL"),
    ],
)
def test_what_is_no_private_address_is_refused_before_anything_is_sent(
    typed: str, says: str
) -> None:
    with pytest.raises(Trouble, match=says) as raised:
        gateway_url(typed)
    assert raised.value.code is Exit.WRONG_CALL
    assert raised.value.remedy
    assert raised.value.sentence.isprintable()


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://slurm.example.org", "slurm.example.org"),
        ("https://slurm.example.org:8443", "slurm.example.org-8443"),
        ("https://slurm.example.org/hpc/one", "slurm.example.org-hpc-one"),
        ("http://[::1]:1", "--1-1"),
    ],
)
def test_a_profile_is_called_by_its_host(url: str, name: str) -> None:
    assert profile_name(url) == name
