"""Every way from the client to slurmrestd that is compared, in the order of the tables."""

from benchmarks.scene import Variant
from benchmarks.variants.apache import Apache
from benchmarks.variants.direct import Direct
from benchmarks.variants.express import Express
from benchmarks.variants.fastapi import FastAPIGateway
from benchmarks.variants.gateway import Gateway
from benchmarks.variants.haproxy import HAProxy
from benchmarks.variants.nginx import Nginx
from benchmarks.variants.relay import Relay

REFERENCE = HAProxy.name
VARIANTS: tuple[Variant, ...] = (
    Direct(),
    Nginx(),
    HAProxy(),
    Apache(),
    Express(),
    FastAPIGateway(),
    Relay(),
    Gateway(),
)
