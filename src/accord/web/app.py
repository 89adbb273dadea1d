"""The studio as one ASGI application: middleware, routers, static files, and how it is served.

One process with one store. Endpoints are plain functions that run in a pool of threads, where they
may wait for the disk: an answer to a judgment means that it is on it. A judgment alone, the request
that comes most, is a coroutine that waits for the store's own thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import uvicorn
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Scope

from accord.config.generators import GeneratorConfig
from accord.store import accounts, prepare
from accord.store.accounts import Account
from accord.store.database import Store
from accord.web import chat_api, errors, lead_api, lead_pages, lead_people, pages, rater_api
from accord.web.generator import Generator
from accord.web.render import STATIC, static_version
from accord.web.security import (
    HEADERS,
    BodyLimit,
    RateLimit,
    SameOrigin,
    SecurityHeaders,
    WebSettings,
)
from accord.web.sessions import current_account, may_upload
from accord.web.webhooks import Webhook

router = APIRouter(include_in_schema=False)

API_VERSION = "1"
SWEEP_SECONDS = 3600.0
"""How often sessions and sign-in attempts that are long over are thrown away."""


class Assets(StaticFiles):
    """Static files, kept by browsers for good under the address that carries their version.

    Modules import each other by relative address, so the version in the first address is in all.
    """

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file at ``v-<version>/path``, or at ``path`` with a question before each use."""
        version, _, rest = path.partition("/")
        versioned = version.startswith("v-") and bool(rest)
        response = await super().get_response(rest if versioned else path, scope)
        current = version == f"v-{static_version()}"
        response.headers["cache-control"] = (
            "public, max-age=31536000, immutable" if current else "no-cache"
        )
        return response


def create_app(
    store: Store,
    settings: WebSettings | None = None,
    policies: GeneratorConfig | None = None,
    webhook: Webhook | None = None,
) -> FastAPI:
    """The application over an open store, which the caller closes afterwards.

    Args:
        store: where everything is kept.
        settings: how it is served.
        policies: who answers raters; None: nobody, and no worker is started.
        webhook: tells another program what happens in rounds; None: nobody is told.
    """
    settings = settings or WebSettings()
    app = FastAPI(
        title=settings.title,
        version=API_VERSION,
        openapi_url=None,  # served below, to those who have an account
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # asked for at each request
    )
    app.state.store = store
    app.state.settings = settings
    app.state.requests = RateLimit(settings.requests_per_second, 4 * settings.requests_per_second)
    app.state.logins = RateLimit(settings.logins_per_minute / 60, settings.logins_per_minute)
    app.state.generator = Generator(store, policies or GeneratorConfig(), prepare.deliver)
    app.state.webhook = webhook
    errors.install(app, HEADERS)
    app.add_middleware(BodyLimit, settings=settings, may_upload=may_upload)
    app.add_middleware(SameOrigin)
    app.add_middleware(SecurityHeaders, secure=settings.secure)
    leads = (lead_api.router, lead_pages.router, lead_people.router)
    for part in (router, rater_api.router, chat_api.router, *leads, pages.router):
        app.include_router(part)
    app.mount("/static", Assets(directory=STATIC), name="static")
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The generation worker, the webhook and the housekeeping run as long as the server does."""
    generator: Generator = app.state.generator
    webhook: Webhook | None = app.state.webhook
    generator.start()
    if webhook is not None:
        webhook.start()
    chores = asyncio.create_task(_sweep(app.state.store))
    try:
        yield
    finally:
        chores.cancel()
        if webhook is not None:
            await run_in_threadpool(webhook.stop)
        await run_in_threadpool(generator.stop)


async def _sweep(store: Store) -> None:
    while True:
        await run_in_threadpool(accounts.sweep, store)
        await asyncio.sleep(SWEEP_SECONDS)


@router.get("/health")
def health() -> dict[str, bool]:
    """Whether the server answers; says nothing else to strangers."""
    return {"ok": True}


@router.get("/api/v1/openapi.json")
def openapi(request: Request, account: Annotated[Account, Depends(current_account)]) -> Any:
    """The API described for programs."""
    return request.app.openapi()


def owner_link(store: Store, settings: WebSettings) -> str | None:
    """The address at which the first owner comes in, good once; None when there is an owner."""
    token = accounts.owner_invite(store)
    return None if token is None else f"{settings.base_url.rstrip('/')}/setup/{token}"


def serve(app: FastAPI, *, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve until it is told to stop; requests under way are finished first.

    Addresses are not logged, because some of them carry an invitation.
    """
    uvicorn.run(
        app,
        host=host,
        port=port,
        access_log=False,
        server_header=False,
        log_level="warning",
        timeout_graceful_shutdown=5,
    )
