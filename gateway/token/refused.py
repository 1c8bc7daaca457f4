"""The exceptions of this package: why a token is not taken."""


class TokenRefused(Exception):
    """A token that is not valid here.

    `cause` is for the audit alone. It is one of our own sentences and quotes nothing of the token,
    so that no part of a token reaches a log.
    """

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class TokenExpired(TokenRefused):
    """A token that was valid here until it ended: whoever presents it once knew better."""


class NotAdmitted(TokenRefused):
    """Genuine and for this gateway, but of somebody whom `required_claims` keeps out."""
