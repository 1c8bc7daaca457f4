"""[store] -> whether its server answers to who the gateway is there."""

from gateway.app_store import make_store
from gateway.commands.reporting import Findings
from gateway.config.gateway import Gateway
from gateway.edges.shared_sessions import SharedSessions
from gateway.edges.store import StoreAway
from gateway.sign_in.session import SessionDoubt


async def check_store(gateway: Gateway, findings: Findings) -> None:
    """A value is written and taken away again, as the gateway would."""
    section = gateway.store
    if section.address is None:
        return
    findings.heading("Store")
    store = make_store(section, gateway.server.cluster)
    try:
        await store.ask("check", store.client.ping)
        await SharedSessions(store).try_out()
    except (StoreAway, SessionDoubt) as away:
        remedy = "see store.address, store.user and store.password_file"
        findings.bad(f"{section.address}: {away}", remedy)
    else:
        findings.good(f"{section.address} answers and can be written to")
    finally:
        await store.close()
