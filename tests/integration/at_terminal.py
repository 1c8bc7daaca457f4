"""The client as somebody types it, and what its user does meanwhile in a browser at the provider's own pages."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.processes import CLEAN_ENVIRONMENT
from tests.integration.browsing import HttpBrowser, Page

PROGRAM = Path(sys.executable).with_name("slurm-gateway")
_SECONDS = 180.0
_ADDRESS = re.compile(r"https?://localhost:\d+/\S+")
_INPUT = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)"')
_FORM = re.compile(r'<form[^>]*action="([^"]*)"')


@dataclass(frozen=True)
class Typed:
    """What a command did."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        """All that it printed."""
        return self.stdout + self.stderr

    def json(self) -> Any:
        return json.loads(self.stdout)


class Terminal:
    """One person's files and environment."""

    def __init__(
        self, home: Path, ca_file: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.home, self.ca_file = home, ca_file
        self.environment = {
            **CLEAN_ENVIRONMENT,
            "SLURM_GATEWAY_HOME": str(home),
            "SLURM_GATEWAY_CA_FILE": str(ca_file),
            "SLURM_GATEWAY_NO_BROWSER": "1",
            "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
            **(environment or {}),
        }

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Type a command and do not wait for it."""
        return subprocess.Popen(
            [str(PROGRAM), *arguments],
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def type(self, *arguments: str, **environment: str) -> Typed:
        """Type a command and wait for its end."""
        process = self.start(*arguments, **environment)
        try:
            stdout, stderr = process.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return Typed(process.returncode, stdout, stderr)

    def log_in(self, url: str, user: str, *arguments: str) -> Typed:
        """`login`, with a browser beside it in which this user signs in."""
        process = self.start("login", url, *arguments)
        assert process.stderr is not None
        told = ""
        while not (found := _ADDRESS.search(told)):
            line = process.stderr.readline()
            assert line, f"login ended: {told}"
            told += line
        page = Browser(found[0], self.ca_file).sign_in(user)
        assert page.status < 400, page.body
        stdout, stderr = process.communicate(timeout=_SECONDS)
        return Typed(process.returncode, stdout, told + stderr)


class Browser:
    """Goes where the terminal says, signs in and agrees."""

    def __init__(self, address: str, ca_file: Path) -> None:
        self._address = address
        self._browser = HttpBrowser(address, ca_file)

    def sign_in(self, user: str, **more: str) -> Page:
        """The page at the end: the provider's own for a code, our loopback's for a browser."""
        page = self._browser.open(self._address)
        for _ in range(5):
            if "/login/" in urllib.parse.urlsplit(page.url).path:
                page = self._browser.open(page.url, {"login": user})
                continue
            form = _FORM.search(page.body)
            fields = {name: html.unescape(value) for name, value in _INPUT.findall(page.body)}
            if not form or "xsrf" not in fields:
                return page
            fields |= {"confirm": "yes"} if 'name="confirm"' in page.body else {}
            page = self._browser.open(html.unescape(form[1]), {**fields, **more})
        return page
