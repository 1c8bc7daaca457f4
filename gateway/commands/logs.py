"""Log records -> single lines on standard error, with control characters escaped."""

import asyncio
import logging
import re
import sys
import time

from gateway.web.visit import AnswerAborted

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class OneLine(logging.Formatter):
    """2026-01-31T12:00:00.123Z WARNING name: message. Tracebacks become part of the line."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        text = record.getMessage()
        if record.exc_info:
            text = f"{text} {self.formatException(record.exc_info)}"
        name = "gateway" if record.name.startswith("gateway") else record.name
        line = f"{moment}.{int(record.msecs):03d}Z {record.levelname} {name}: {text}"
        return escape(line)


def escape(text: str) -> str:
    """Control characters, line separators and lone surrogates as \\xNN or \\uNNNN."""
    return _UNSAFE.sub(lambda match: ascii(match[0])[1:-1], text)


def tells_news(record: logging.LogRecord) -> bool:
    """Whether this is not merely uvicorn's traceback of a request that was cut off on purpose."""
    return record.exc_info is None or record.exc_info[0] not in {
        asyncio.CancelledError,
        AnswerAborted,
    }


def configure_logging(level: int = logging.INFO) -> None:
    """Everything that is logged goes to standard error through one handler."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in ("httpx2", "httpcore2", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(tells_news)
