"""Log records -> single lines, whatever they hold."""

import asyncio
import io
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.commands.logs import OneLine, escape, tells_news
from gateway.web.visit import AnswerAborted


def logged(message: str, *arguments: object, error: bool = False) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OneLine())
    record = logging.LogRecord("gateway.x", logging.INFO, "f", 1, message, arguments, None)
    if error:
        try:
            int("first\nsecond")
        except ValueError as caught:
            record.exc_info = (ValueError, caught, caught.__traceback__)
    handler.emit(record)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ✓ ü", "plain ✓ ü"),
        ("a\nb", r"a\nb"),
        ("a\r\nb", r"a\r\nb"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b31m", r"\x9b31m"),
        ("a\u2028b", r"a\u2028b"),
        ("\ud800", r"\ud800"),
        ("\x00\x7f", r"\x00\x7f"),
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert escape(text) == shown


@given(st.text())
def test_every_message_is_one_line(text: str) -> None:
    line = logged("%s", text)
    assert line.endswith("\n")
    assert len(line.splitlines()) == 1


def test_a_traceback_is_part_of_the_line() -> None:
    line = logged("failed", error=True)
    assert line.count("\n") == 1
    assert "ValueError: invalid literal" in line


def test_a_line_has_time_level_and_the_short_name() -> None:
    time, level, rest = logged("hello").split(" ", 2)
    assert time.endswith("Z")
    assert (level, rest) == ("INFO", "gateway: hello\n")


@pytest.mark.parametrize(
    ("error", "is_news"),
    [
        (AnswerAborted("client-too-slow"), False),
        (asyncio.CancelledError(), False),
        (OSError(), True),
    ],
)
def test_what_is_cut_off_on_purpose_is_in_the_audit_and_not_in_the_log(
    error: BaseException, is_news: bool
) -> None:
    """Otherwise every client that stops reading would write a traceback."""
    info = (type(error), error, None)
    record = logging.LogRecord("uvicorn.error", logging.ERROR, "f", 1, "Exception", (), info)
    assert tells_news(record) == is_news
