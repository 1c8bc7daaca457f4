"""Files, directories and ports that the configuration names -> whether they can be used. Writes nothing."""

import os
import pwd
import time
from pathlib import Path
from urllib.parse import urlsplit

from gateway.app_audit import make_syslog_writer
from gateway.app_identity import make_deny_list, open_table
from gateway.app_shelf import Shelf
from gateway.app_state import MINIMUM_ROOM_BYTES
from gateway.commands.reporting import Findings
from gateway.config.audit import Audit, FileSink, SyslogSink
from gateway.config.gateway import Gateway
from gateway.config.server import Server
from gateway.edges.edited_file import FileUnusable
from gateway.edges.process_file import BINDINGS_FILE, find_stranger, is_gateway_running
from gateway.web.listening import ListenError, bind
from gateway.web.tls import Pair, TlsError, read_pair

_SOON_DAYS = 21
_MEBIBYTE = 1 << 20


def check_state_directory(path: Path, findings: Findings) -> None:
    """There, ours, closed to others, with room for bodies."""
    if not path.is_dir():
        owner = pwd.getpwuid(os.geteuid()).pw_name
        remedy = f"install -d -m 0700 -o {owner} {path} (`serve` makes the last part of the path)"
        if path.parent.is_dir() and _may_write(path.parent):
            findings.good(f"state directory {path} will be made at the first start")
        else:
            findings.bad(f"state directory {path} does not exist", remedy)
        return
    status = path.stat()
    if status.st_uid != os.geteuid():
        findings.doubt(
            f"state directory {path} belongs to {_name_of(status.st_uid)},"
            f" and this is {_name_of(os.geteuid())}",
            f"check as the gateway's own user: sudo -u {_name_of(status.st_uid)} slurm-gateway check",
        )
    if not _may_write(path):
        findings.bad(f"state directory {path} cannot be written", f"chown it, mode 0700: {path}")
        return
    stranger = find_stranger(path)
    if stranger:
        findings.bad(
            f"state directory {path} is open to others and holds {stranger}",
            f"name a directory of the gateway's own, or chmod 0700 {path}",
        )
        return
    room = os.statvfs(path)
    free = room.f_bavail * room.f_frsize
    if free < MINIMUM_ROOM_BYTES:
        findings.bad(f"{path} has {free // _MEBIBYTE} MiB free", "large bodies are spooled there")
    else:
        findings.good(f"state directory {path}, {free // _MEBIBYTE:,} MiB free")


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _may_write(directory: Path) -> bool:
    return os.access(directory, os.W_OK | os.X_OK, effective_ids=True)


def _may_append(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=True)


def check_tls(server: Server, findings: Findings) -> None:
    """The pair fits, has not ended, and names the host of public_url."""
    if server.tls_certificate_file is None or server.tls_key_file is None:
        where = "a UNIX socket" if server.listen.startswith("unix:") else server.listen
        findings.good(f"no TLS here: plain HTTP on {where}")
        return
    try:
        pair = read_pair(server.tls_certificate_file, server.tls_key_file)
    except TlsError as error:
        findings.bad(str(error))
        return
    _check_names(server, pair, findings)
    days = pair.days_left(time.time())
    if days < 0:
        findings.bad(f"the certificate ended on {pair.ends:%Y-%m-%d}", "renew it, then reload")
    elif days < _SOON_DAYS:
        findings.doubt(f"the certificate ends in {days:.0f} days", "renew it, then reload")
    else:
        findings.good(f"certificate and key fit, until {pair.ends:%Y-%m-%d} ({days:.0f} days)")


def _check_names(server: Server, pair: Pair, findings: Findings) -> None:
    host = urlsplit(server.public_url).hostname or ""
    wildcard = f"*.{host.partition('.')[2]}"
    if not {host, wildcard} & {name.lower() for name in pair.names}:
        shown = ", ".join(pair.names) or "no name"
        findings.doubt(
            f"the certificate is for {shown}, not for {host} of public_url",
            "clients will refuse it, unless something else answers them",
        )


def check_listeners(server: Server, findings: Findings) -> None:
    """Free, or taken by the gateway that runs with this state directory."""
    if is_gateway_running(server.state_directory):
        findings.good("a gateway runs with this state directory; its listeners are not tried")
        return
    for name, listen in (("listen", server.listen), ("operations", server.operations_listen)):
        if listen is None:
            continue
        if listen.startswith("unix:"):
            _check_socket_place(name, Path(listen.removeprefix("unix:")), findings)
            continue
        try:
            bind(listen, server.socket_mode).close()
        except ListenError as error:
            findings.bad(str(error))
        else:
            findings.good(f"{name}: {listen} is free")


def _check_socket_place(name: str, path: Path, findings: Findings) -> None:
    if path.parent.is_dir() and _may_write(path.parent):
        findings.good(f"{name}: {path.parent} takes a socket")
    else:
        findings.bad(f"{name}: no socket can be made in {path.parent}", "make it, or chown it")


def check_lists(gateway: Gateway, shelf: Shelf, findings: Findings) -> None:
    """User tables and the deny list."""
    for rule in gateway.map_user.rules:
        if rule.table_file is not None:
            try:
                rows = len(open_table(rule.table_file, shelf)())
            except FileUnusable as error:
                findings.bad(str(error))
            else:
                findings.good(f"{rule.table_file}: {rows} rows")
    if gateway.authenticate.deny_list_file is not None:
        try:
            make_deny_list(gateway.authenticate, shelf)
        except FileUnusable as error:
            findings.bad(str(error))
        else:
            findings.good(f"deny list {gateway.authenticate.deny_list_file} can be read")
    bindings = gateway.server.state_directory / BINDINGS_FILE
    if bindings.exists() and not os.access(bindings, os.R_OK | os.W_OK, effective_ids=True):
        findings.bad(f"{bindings} cannot be written", "chown it to the gateway's user")


def check_audit(audit: Audit, findings: Findings) -> None:
    """Each sink takes lines; files are not made here, or they might belong to the wrong user."""
    for sink in audit.sinks:
        match sink:
            case FileSink():
                _check_file_sink(sink.path, findings)
            case SyslogSink():
                _check_syslog(sink, findings)
            case _:
                findings.good("standard output")


def _check_syslog(sink: SyslogSink, findings: Findings) -> None:
    """Nothing is sent: a connection, and for TLS the server's certificate."""
    try:
        writer = make_syslog_writer(sink)
        writer.connect()
    except OSError as error:
        report = findings.bad if sink.required else findings.doubt
        report(f"syslog {sink.address}: {error.strerror or error}", "start the server, or its TLS")
    else:
        writer.close()
        findings.good(f"syslog {sink.address} can be reached")


def _check_file_sink(path: Path, findings: Findings) -> None:
    if not path.parent.is_dir():
        remedy = f"install -d -m 0700 -o <the gateway's user> {path.parent}"
        findings.bad(f"{path.parent} does not exist", remedy)
    elif not _may_write(path.parent):
        findings.bad(f"{path.parent} cannot be written", "rotation renames files there")
    elif path.exists() and not (path.is_file() and _may_append(path)):
        findings.bad(f"{path} cannot be appended to", "chown it to the gateway's user")
    else:
        findings.good(f"{path} takes lines")
