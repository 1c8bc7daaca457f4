"""The operations of slurmrestd, their versions, parameters and risk classes, as data of our own.

`operations.tsv` has a row for each operation, `catalogue.toml` what the rows refer to. Both were
compared with the OpenAPI documents of Slurm 20.11.4, 22.05.8, 24.11.5 and 26.05.5, and with what
those daemons do; v0.0.39 follows Slurm's published sources, because no packaged release serves it.
"""

from gateway.slurm_api.catalogue import Catalogue, Entry, Match, VersionedOperation
from gateway.slurm_api.reading import read_catalogue
from gateway.slurm_api.target import raised_risk, write_target
from gateway.slurm_api.versions import VersionRange

__all__ = [
    "Catalogue",
    "Entry",
    "Match",
    "VersionRange",
    "VersionedOperation",
    "raised_risk",
    "read_catalogue",
    "write_target",
]
