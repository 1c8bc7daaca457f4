"""(place in a list, name of the last item shown) -> a text that a client sends back for the rest, and back again."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

_TEXT = re.compile(r"[A-Za-z0-9_-]{1,344}")
_MOST_NAME_CHARACTERS = 200
_WRITTEN = re.compile(r"([0-9]{1,9}):([ -~]{0,200})")


def write_cursor(place: int, name: str) -> str:
    """`place` is the number of items before the rest."""
    shown = "".join(char for char in name if " " <= char <= "~")[:_MOST_NAME_CHARACTERS]
    return urlsafe_b64encode(f"{place}:{shown}".encode()).rstrip(b"=").decode()


def read_cursor(text: str) -> tuple[int, str] | None:
    """None for what was never written."""
    if not _TEXT.fullmatch(text):
        return None
    try:
        decoded = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
    except ValueError:
        return None
    match = _WRITTEN.fullmatch(decoded)
    return (int(match[1]), match[2]) if match else None
