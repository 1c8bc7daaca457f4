"""Files of the package -> scripts and styles at addresses that change with what is in them."""

import gzip
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from fastapi import FastAPI, Request, Response

from gateway.web.sign_in.asked import field

_STATIC: Final = "/gateway/static/"
_SCRIPT: Final = "text/javascript; charset=utf-8"
_STYLE: Final = "text/css; charset=utf-8"
_FIXED: Final = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """`packed` is gzip, as browsers get it; whoever does not take that gets what is in it."""

    path: str
    media_type: str
    packed: bytes

    def answer(self, accept_encoding: bytes) -> Response:
        """Never a lie about what it is: the encoding is said where it is used."""
        if not takes_gzip(accept_encoding):
            plain = gzip.decompress(self.packed)
            return Response(plain, 200, _FIXED, media_type=self.media_type)
        headers = {**_FIXED, "Content-Encoding": "gzip"}
        return Response(self.packed, 200, headers, media_type=self.media_type)


@dataclass(frozen=True, slots=True)
class Assets:
    """Swagger UI, and what joins it to the gateway."""

    swagger_script: Asset
    swagger_style: Asset
    script: Asset
    style: Asset


def read_assets() -> Assets:
    """All of them, from the package's own files."""
    web = files("gateway.web")
    swagger, static = web.joinpath("docs_page", "swagger_ui"), web.joinpath("static")
    return Assets(
        _asset("swagger-ui-bundle.js", swagger.joinpath("swagger-ui-bundle.js.gz").read_bytes()),
        _asset("swagger-ui.css", swagger.joinpath("swagger-ui.css.gz").read_bytes()),
        _asset("docs.js", gzip.compress(static.joinpath("docs.js").read_bytes(), mtime=0)),
        _asset("docs.css", gzip.compress(static.joinpath("docs.css").read_bytes(), mtime=0)),
    )


def _asset(name: str, packed: bytes) -> Asset:
    digest = hashlib.sha256(packed).hexdigest()[:16]
    return Asset(f"{_STATIC}{digest}/{name}", _SCRIPT if name.endswith(".js") else _STYLE, packed)


def add_assets(portal: FastAPI, assets: Assets) -> None:
    """Their routes."""
    for asset in (assets.swagger_script, assets.swagger_style, assets.script, assets.style):
        _add(portal, asset)


def _add(portal: FastAPI, asset: Asset) -> None:
    @portal.get(asset.path)
    async def file(request: Request) -> Response:
        return asset.answer(field(request, b"accept-encoding"))


def takes_gzip(accept_encoding: bytes) -> bool:
    """Whether gzip stands there and is not ruled out (RFC 9110 section 12.5.3)."""
    for one in accept_encoding.lower().split(b","):
        coding, _, weight = one.replace(b" ", b"").partition(b";")
        if coding == b"gzip":
            return weight.removeprefix(b"q=").strip(b"0.") != b"" or not weight
    return False
