"""The whole of gateway.toml, as one frozen model in the order of the pipeline."""

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from gateway.config.audit import Audit
from gateway.config.authenticate import Authenticate
from gateway.config.authorize import Authorize
from gateway.config.cache import Cache
from gateway.config.credential import Credential
from gateway.config.forward import Forward
from gateway.config.idempotency import Idempotency
from gateway.config.limit import Limit
from gateway.config.map_user import MapUser
from gateway.config.receive import Receive
from gateway.config.server import Server
from gateway.config.sign_in import SignIn
from gateway.config.store import Store


class Gateway(BaseSettings):
    """One section a stage. SLURM_GATEWAY__SECTION__NAME in the environment overrides a setting."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix="SLURM_GATEWAY__",
        env_nested_delimiter="__",
        use_attribute_docstrings=True,
    )

    server: Server
    store: Store = Store()
    receive: Receive = Receive()
    authenticate: Authenticate
    sign_in: SignIn = SignIn()
    map_user: MapUser
    authorize: Authorize = Authorize()
    limit: Limit = Limit()
    credential: Credential
    idempotency: Idempotency = Idempotency()
    cache: Cache = Cache()
    forward: Forward
    audit: Audit

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 (the signature is pydantic's)
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (laid over the file by load)
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (not read)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (not read)
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` hands over, which is the file with the environment over it."""
        return (init_settings,)
