"""Every way to say no: a stable code, its HTTP status and one sentence for the client."""

from collections.abc import Mapping
from enum import Enum


class Reason(Enum):
    """(code, HTTP status, sentence). The code is stable; each has a page `docs/errors/<code>.md`."""

    code: str
    status: int
    sentence: str

    def __init__(self, code: str, status: int, sentence: str) -> None:
        self.code = code
        self.status = status
        self.sentence = sentence

    # receive
    TARGET_MALFORMED = ("target-malformed", 400, "The request target is not in canonical form.")
    TARGET_TOO_LONG = ("target-too-long", 414, "The request target is too long.")
    REQUEST_MALFORMED = ("request-malformed", 400, "The request is not well-formed HTTP/1.1.")
    HEADER_MALFORMED = ("header-malformed", 400, "A header field cannot be read in one way only.")
    HEADERS_TOO_LARGE = ("headers-too-large", 431, "The header has too many fields or bytes.")
    HEADERS_TIMEOUT = ("headers-timeout", 408, "The header did not arrive in time.")
    HOST_INVALID = ("host-invalid", 400, "Exactly one valid Host header is required.")
    METHOD_NOT_ALLOWED = ("method-not-allowed", 405, "Only GET, POST and DELETE are served.")
    FRAMING_INVALID = (
        "framing-invalid",
        400,
        "The length of the body is not stated in exactly one way.",
    )
    EXPECTATION_UNKNOWN = (
        "expectation-unknown",
        417,
        "The only known expectation is 100-continue.",
    )
    NOT_ACCEPTABLE = ("not-acceptable", 406, "None of the accepted media types can be served.")
    MEDIA_TYPE_UNSUPPORTED = (
        "media-type-unsupported",
        415,
        "The body must be application/json without content coding.",
    )
    BODY_UNEXPECTED = ("body-unexpected", 400, "This operation takes no body.")
    BODY_REQUIRED = ("body-required", 400, "This operation needs a body.")
    BODY_TOO_LARGE = ("body-too-large", 413, "The body is larger than this operation allows.")
    BODY_TIMEOUT = ("body-timeout", 408, "The body did not arrive in time.")
    # authenticate
    CREDENTIALS_AMBIGUOUS = (
        "credentials-ambiguous",
        400,
        "Send exactly one bearer token, in the Authorization header only.",
    )
    AUTHORIZATION_MALFORMED = (
        "authorization-malformed",
        400,
        "The Authorization header is not a well-formed bearer credential.",
    )
    TOKEN_MISSING = ("token-missing", 401, "A bearer token is required.")
    TOKEN_INVALID = ("token-invalid", 401, "The access token is not valid here.")
    SESSION_ENDED = ("session-ended", 401, "The session has ended; sign in again.")
    CROSS_SITE_REQUEST = (
        "cross-site-request",
        403,
        "A session is heard only from the gateway's own pages.",
    )
    SESSIONS_UNAVAILABLE = (
        "sessions-unavailable",
        503,
        "Sessions cannot be looked up or kept at the moment.",
    )
    SIGN_IN_REFUSED = ("sign-in-refused", 400, "The sign-in could not be completed.")
    LOGOUT_TOKEN_INVALID = ("logout-token-invalid", 400, "The logout token is not valid here.")
    PROVIDER_UNAVAILABLE = (
        "provider-unavailable",
        503,
        "The identity provider cannot be asked at the moment.",
    )
    TOKEN_EXPIRING = ("token-expiring", 401, "The access token ends too soon to be used.")
    KEYS_UNAVAILABLE = (
        "keys-unavailable",
        503,
        "The identity provider's keys cannot be had at the moment.",
    )
    AUTHENTICATION_THROTTLED = (
        "authentication-throttled",
        429,
        "Too many failed authentications from this address.",
    )
    ANONYMOUS_THROTTLED = (
        "anonymous-throttled",
        429,
        "Too many requests without a token from this address.",
    )
    # map_user
    USER_UNMAPPED = ("user-unmapped", 403, "No rule maps this identity to a Slurm user.")
    USER_FORBIDDEN = (
        "user-forbidden",
        403,
        "This identity maps to a user that the gateway never acts as.",
    )
    USER_UNKNOWN = ("user-unknown", 403, "The mapped user has no account on the cluster.")
    SUBJECT_CONFLICT = (
        "subject-conflict",
        403,
        "The mapped user is bound to another subject.",
    )
    DIRECTORY_UNAVAILABLE = (
        "directory-unavailable",
        503,
        "The user directory cannot be asked at the moment.",
    )
    # authorize
    INSUFFICIENT_USER_AUTHENTICATION = (
        "insufficient-user-authentication",
        401,
        "This needs a stronger or more recent sign-in.",
    )
    OPERATION_UNLISTED = ("operation-unlisted", 403, "This operation is not allowed for you.")
    QUERY_UNLISTED = ("query-unlisted", 400, "A query parameter is not known for this operation.")
    PARAMETER_INVALID = ("parameter-invalid", 400, "A parameter has a value of the wrong kind.")
    # the rules on bodies
    BODY_MALFORMED = ("body-malformed", 400, "The body is not one JSON object with one reading.")
    FIELD_FORBIDDEN = ("field-forbidden", 403, "A field of the body is not allowed for you.")
    # ownership of jobs
    JOB_NOT_OWN = ("job-not-own", 403, "You may reach your own jobs only.")
    LIST_TOO_LARGE = ("list-too-large", 502, "Too much is left for one filtered answer.")
    # limit
    RATE_EXCEEDED = ("rate-exceeded", 429, "Too many requests of this kind.")
    CONCURRENCY_EXCEEDED = ("concurrency-exceeded", 429, "Too many requests at the same time.")
    LIMITS_UNAVAILABLE = (
        "limits-unavailable",
        503,
        "Requests cannot be counted at the moment, so none is let through.",
    )
    BUSY = ("busy", 503, "All connections to slurmrestd are in use.")
    # credential
    CREDENTIAL_UNAVAILABLE = (
        "credential-unavailable",
        503,
        "No Slurm credential can be issued at the moment.",
    )
    CREDENTIAL_USER_MISMATCH = (
        "credential-user-mismatch",
        403,
        "The configured Slurm credential belongs to another user.",
    )
    SLURM_TOKEN_UNSUPPORTED = (
        "slurm-token-unsupported",
        501,
        "This gateway makes no Slurm tokens and cannot hand one out.",
    )
    # idempotency
    IDEMPOTENCY_KEY_INVALID = (
        "idempotency-key-invalid",
        400,
        "The Idempotency-Key is not one string of 1 to 255 printable ASCII characters.",
    )
    IDEMPOTENCY_KEY_UNSUPPORTED = (
        "idempotency-key-unsupported",
        400,
        "An Idempotency-Key is kept for job submissions only.",
    )
    IDEMPOTENCY_KEY_REUSED = (
        "idempotency-key-reused",
        422,
        "This Idempotency-Key was used with another request.",
    )
    IDEMPOTENCY_BODY_UNFIT = (
        "idempotency-body-unfit",
        422,
        "The job cannot take the marker that an Idempotency-Key needs.",
    )
    IDEMPOTENCY_IN_PROGRESS = (
        "idempotency-in-progress",
        409,
        "The first request with this Idempotency-Key is still running.",
    )
    IDEMPOTENCY_KEYS_EXCEEDED = (
        "idempotency-keys-exceeded",
        429,
        "Too many Idempotency-Keys are remembered.",
    )
    IDEMPOTENCY_UNAVAILABLE = (
        "idempotency-unavailable",
        503,
        "Idempotency-Keys cannot be remembered at the moment; nothing was sent to Slurm.",
    )
    OUTCOME_UNKNOWN = (
        "outcome-unknown",
        409,
        "Whether the first request with this Idempotency-Key ran is not known.",
    )
    # forward
    SLURM_UNAVAILABLE = (
        "slurm-unavailable",
        503,
        "Slurm did not answer lately; it is asked again in a moment.",
    )
    UPSTREAM_UNREACHABLE = ("upstream-unreachable", 502, "slurmrestd cannot be reached.")
    UPSTREAM_TIMEOUT = ("upstream-timeout", 504, "slurmrestd did not answer in time.")
    UPSTREAM_INVALID = ("upstream-invalid", 502, "slurmrestd's answer could not be read.")
    CREDENTIAL_REFUSED = (
        "credential-refused",
        502,
        "Slurm refused the credential that the gateway issued.",
    )
    # forward-auth
    DECISION_INCOMPLETE = (
        "decision-incomplete",
        403,
        "This needs more than a decision on the request's head: send it to the gateway itself.",
    )
    # audit, and the gateway itself
    SPOOL_UNAVAILABLE = (
        "spool-unavailable",
        503,
        "The gateway has no room for the body at the moment.",
    )
    AUDIT_UNAVAILABLE = ("audit-unavailable", 503, "The audit cannot be written at the moment.")
    SHUTTING_DOWN = ("shutting-down", 503, "The gateway is shutting down.")
    PAGE_UNKNOWN = ("page-unknown", 404, "There is nothing at this address.")
    INTERNAL_ERROR = ("internal-error", 500, "The gateway failed; the request was not forwarded.")
    # written to the audit only, because nobody is left to be answered
    CLIENT_CLOSED = ("client-closed", 499, "The client went away before the answer was complete.")
    CLIENT_TOO_SLOW = ("client-too-slow", 499, "The client read too slowly.")


class Denied(Exception):
    """A refusal on its way to the client.

    `note` is for the audit alone; `detail`, `headers` and `members` (extra members of the problem
    document, RFC 9457 section 3.2) are public. `rule` names the configured rule that decided.
    """

    def __init__(
        self,
        reason: Reason,
        note: str = "",
        *,
        detail: str = "",
        rule: str = "",
        headers: tuple[tuple[str, str], ...] = (),
        members: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(reason.code)
        self.reason = reason
        self.note = note
        self.detail = detail or reason.sentence
        self.rule = rule
        self.headers = headers
        self.members = members or {}
