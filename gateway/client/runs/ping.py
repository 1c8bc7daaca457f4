"""`ping` -> whether gateway and slurmctld answer, in which API version, and how fast."""

import json
import time
from collections.abc import Mapping
from typing import Any

import click

from gateway.client.opening import open_cluster
from gateway.client.options import Options
from gateway.client.trouble import Exit, printable


def run(options: Options) -> int:
    """0 where a slurmctld answers."""
    with open_cluster(options) as cluster:
        started = time.perf_counter()
        answer = cluster.get("/ping").content
        milliseconds = (time.perf_counter() - started) * 1000
        place, version = cluster.gateway.place, cluster.version
    controllers = [_controller(one) for one in answer.get("pings") or []]
    facts = {
        "gateway": place.url,
        "api_version": version,
        "slurm": release_of(answer),
        "milliseconds": round(milliseconds, 1),
        "controllers": controllers,
    }
    if options.as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        _print(facts)
    return Exit.DONE if any(one["up"] for one in controllers) else Exit.UNAVAILABLE


def release_of(answer: Mapping[str, Any]) -> str:
    """Slurm's release, such as 22.05.8; empty where the answer does not have it."""
    meta = answer.get("meta") or {}
    slurm = meta.get("slurm") or meta.get("Slurm") or {}
    return str(slurm.get("release", ""))


def _controller(ping: Mapping[str, Any]) -> dict[str, Any]:
    """v0.0.45 has `responding` alone, older ones a word."""
    word = ping.get("pinged", ping.get("ping"))
    is_up = word == "UP" if word is not None else bool(ping.get("responding"))
    primary = ping.get("mode", "primary" if ping.get("primary") else "backup")
    return {"host": str(ping.get("hostname", "")), "mode": str(primary), "up": is_up}


def _print(facts: Mapping[str, Any]) -> None:
    click.echo(
        f"{facts['gateway']}  Slurm {printable(facts['slurm'])}, API {facts['api_version']},"
        f" {facts['milliseconds']:g} ms"
    )
    for one in facts["controllers"]:
        state = click.style("UP", fg="green") if one["up"] else click.style("DOWN", fg="red")
        mode, host = printable(one["mode"]), printable(one["host"])
        click.echo(f"Slurmctld({mode}) at {host} is {state}")
