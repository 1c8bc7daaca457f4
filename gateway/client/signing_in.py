"""A way to sign in -> tokens, with a person at a terminal or without one."""

import os
import sys
import webbrowser
from collections.abc import Mapping

import click

from gateway.client import oauth
from gateway.client.loopback import Loopback
from gateway.client.token_store import Tokens
from gateway.client.trouble import Exit, Trouble

_BROWSER_SECONDS = 300.0


def default_way(environ: Mapping[str, str], *, has_device: bool, has_browser: bool) -> str:
    """A browser where there is likely to be one on this machine, else a code to type elsewhere."""
    remote = "SSH_CONNECTION" in environ or "SSH_TTY" in environ
    headless = sys.platform.startswith("linux") and not (
        environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY")
    )
    wants_browser = not (remote or headless)
    if has_browser and (wants_browser or not has_device):
        return "browser"
    return "device"


def by_device(client: oauth.Client) -> Tokens:
    """Print a code and wait until somebody has signed in with it, on any machine. Raises Trouble."""
    if not client.endpoints.device:
        raise Trouble(
            Exit.WRONG_CALL,
            f"{client.issuer} does not offer sign-in by a code.",
            "sign in with: slurm-gateway login --browser",
        )
    code = oauth.start_device(client)
    shown = code.complete_url or code.verification_url
    click.echo(f"Open {click.style(shown, bold=True)} on any device", err=True)
    click.echo(f"and check or type the code {click.style(code.user_code, bold=True)}", err=True)
    click.echo("Waiting for you to sign in there. Ctrl-C gives up.", err=True)
    return oauth.await_device(client, code)


def by_browser(client: oauth.Client) -> Tokens:
    """Open a browser on this machine and wait for it to come back. Raises Trouble."""
    if not client.endpoints.authorization:
        raise Trouble(
            Exit.WRONG_CALL,
            f"{client.issuer} does not offer sign-in by a browser.",
            "sign in with: slurm-gateway login --device",
        )
    loopback = Loopback()
    try:
        flow = oauth.start_browser(client, loopback.redirect_uri)
        click.echo(f"Sign in with your browser. If none opens, go to\n\n{flow.url}\n", err=True)
        if not os.environ.get("SLURM_GATEWAY_NO_BROWSER"):
            webbrowser.open(flow.url)
        code = loopback.await_code(flow.state, client.issuer, _BROWSER_SECONDS)
    finally:
        loopback.close()
    return oauth.redeem(client, flow, code)
