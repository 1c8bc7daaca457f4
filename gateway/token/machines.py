"""Claims -> whether they name a client that acts for itself, as providers say it each in their own way.

A client's token must never become a person's account because a claim happens to look like a name.
"""

from typing import Final

from gateway.token.claims import Claims

CLIENT_CLAIMS_OF_PROVIDERS: Final = ("cid", "appid")
"""Where `client_id` and `azp` are not: Okta's, and that of Entra ID's tokens of version 1.0."""
_CLIENT_CLAIMS: Final = ("client_id", "azp", *CLIENT_CLAIMS_OF_PROVIDERS)


def names_a_machine(claims: Claims, subject: str, client: str) -> bool:
    """Without a person in it (RFC 9068 section 5: a client-credentials token has the client as `sub`).

    Entra ID has an object of its own for a client, and says so by `idtyp`; Keycloak has a user of its own,
    whom it calls service-account-CLIENT.
    """
    if not subject or claims.get("idtyp") == "app":
        return True
    clients = [client, *(claims.get(name) for name in _CLIENT_CLAIMS)]
    if subject in clients or claims.get("sub") in [one for one in clients if one]:
        return True
    name = claims.get("preferred_username")
    return any(one and name == f"service-account-{one}" for one in clients)
