"""(layout, ports, host name) -> the text of slurm.conf, slurmdbd.conf and cgroup.conf. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from lab.layout import Layout

CLUSTER = "lab"
PORTS = ("slurmctld", "slurmd", "slurmdbd", "slurmrestd", "mariadbd")
DATABASE = "slurm_acct_db"


def _shared(layout: Layout) -> dict[str, str]:
    at = layout.inside
    return {
        "SlurmUser": "slurm",
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={at}/munge/munge.socket",
        "AuthAltTypes": "auth/jwt",
        "AuthAltParameters": f"jwt_key={at}/keys/jwt_hs256.key",
    }


def _lines(settings: Mapping[str, object]) -> str:
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def slurm_conf(layout: Layout, ports: Mapping[str, int], host: str) -> str:
    """One node of 16 pretended CPUs, without cgroups, so that it runs wherever root does."""
    at = layout.inside
    settings: dict[str, object] = {
        "ClusterName": CLUSTER,
        "SlurmctldHost": f"{host}(127.0.0.1)",
        **_shared(layout),
        "SlurmctldPort": ports["slurmctld"],
        "SlurmdPort": ports["slurmd"],
        "CredType": "cred/munge",
        "StateSaveLocation": f"{at}/slurmctld",
        "SlurmdSpoolDir": f"{at}/slurmd",
        "SlurmctldPidFile": f"{at}/run/slurmctld.pid",
        "SlurmdPidFile": f"{at}/run/slurmd.pid",
        "SlurmctldLogFile": f"{at}/log/slurmctld.log",
        "SlurmdLogFile": f"{at}/log/slurmd.log",
        "SlurmctldDebug": "verbose",
        "SlurmdDebug": "info",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "MpiDefault": "none",
        "JobAcctGatherType": "jobacct_gather/none",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core",
        "SlurmdParameters": "config_overrides",
        "ReturnToService": 2,
        "MaxJobCount": 50_000,
        "MinJobAge": 120,
        "KillWait": 3,
        "AccountingStorageType": "accounting_storage/slurmdbd",
        "AccountingStorageHost": "127.0.0.1",
        "AccountingStoragePort": ports["slurmdbd"],
        # The way to slurmdbd takes munge's socket from here, not from AuthInfo.
        "AccountingStoragePass": f"{at}/munge/munge.socket",
    }
    more = "".join(f"{line}\n" for line in layout.release.slurm_conf)
    node = f"NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=4000 State=UNKNOWN\n"
    partition = f"PartitionName=debug Nodes={host} Default=YES MaxTime=60 State=UP\n"
    return _lines(settings) + more + node + partition


def slurmdbd_conf(layout: Layout, ports: Mapping[str, int], password: str) -> str:
    """slurmdbd on loopback as far as it can: it listens on every address and has no setting for that."""
    return _lines(
        {
            **_shared(layout),
            "DbdHost": "localhost",
            "DbdAddr": "127.0.0.1",
            "DbdPort": ports["slurmdbd"],
            "DebugLevel": "verbose",
            "LogFile": f"{layout.inside}/log/slurmdbd.log",
            "PidFile": f"{layout.inside}/run/slurmdbd.pid",
            "StorageType": "accounting_storage/mysql",
            "StorageHost": "127.0.0.1",
            "StoragePort": ports["mariadbd"],
            "StorageUser": "slurm",
            "StoragePass": password,
            "StorageLoc": DATABASE,
        }
    )


def cgroup_conf(layout: Layout) -> str:
    """Empty where the release knows no setting for doing without cgroups."""
    return "".join(f"{line}\n" for line in layout.release.cgroup_conf)


def database_sql(password: str) -> str:
    """Statements that may be run at every start."""
    return (
        f"create database if not exists {DATABASE};"
        f"create user if not exists slurm@'127.0.0.1' identified by '{password}';"
        f"create user if not exists slurm@localhost identified by '{password}';"
        f"grant all on {DATABASE}.* to slurm@'127.0.0.1';"
        f"grant all on {DATABASE}.* to slurm@localhost;"
    )
