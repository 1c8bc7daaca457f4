"""A gateway as people write it with FastAPI, httpx2 and PyJWT: settings by environment -> an application for uvicorn.

It verifies the bearer token (RS256, issuer, audience, expiry) with the keys of a JWKS file, sets Slurm's
headers and streams both bodies.
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import httpx2
import jwt
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.background import BackgroundTask

BACKEND = os.environ["BACKEND"]
ISSUER = os.environ["ISSUER"]
AUDIENCE = os.environ["AUDIENCE"]
SLURM_TOKEN = os.environ["SLURM_TOKEN"]
KEYS = {
    key["kid"]: jwt.PyJWK(key)
    for key in json.loads(Path(os.environ["JWKS_FILE"]).read_text())["keys"]
}
DROPPED = {"host", "connection", "authorization"}

bearer = HTTPBearer(auto_error=False)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One client with kept connections for the life of the application."""
    limits = httpx2.Limits(max_connections=64, max_keepalive_connections=64)
    async with httpx2.AsyncClient(base_url=BACKEND, timeout=300, limits=limits) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)


async def current_user(
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> str:
    """Verify the token; 401 without a good one."""
    if credentials is None:
        raise HTTPException(401, "missing token")
    try:
        token = credentials.credentials
        key = KEYS[jwt.get_unverified_header(token)["kid"]]
        claims = jwt.decode(
            token,
            key,
            algorithms=["RS256"],
            issuer=ISSUER,
            audience=AUDIENCE,
            options={"require": ["exp"]},
        )
    except (jwt.InvalidTokenError, KeyError) as error:
        raise HTTPException(401, "invalid token") from error
    return str(claims["preferred_username"])


@app.api_route("/{path:path}", methods=["GET", "POST", "DELETE"])
async def forward(
    path: str, request: Request, user: Annotated[str, Depends(current_user)]
) -> StreamingResponse:
    """Send the request on and stream the answer back."""
    client: httpx2.AsyncClient = request.app.state.client
    headers = {name: value for name, value in request.headers.items() if name not in DROPPED}
    headers["X-SLURM-USER-NAME"] = user
    headers["X-SLURM-USER-TOKEN"] = SLURM_TOKEN
    has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
    upstream = client.build_request(
        request.method,
        f"/{path}",
        params=request.query_params,
        headers=headers,
        content=request.stream() if has_body else None,
    )
    answer = await client.send(upstream, stream=True)
    kept = {name: value for name, value in answer.headers.items() if name != "connection"}
    return StreamingResponse(
        answer.aiter_raw(),
        status_code=answer.status_code,
        headers=kept,
        background=BackgroundTask(answer.aclose),
    )
