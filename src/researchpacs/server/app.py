"""One Starlette application over one archive.

Endpoints are plain functions, which Starlette runs in its thread pool, so that a slow disk holds up nobody else.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from researchpacs.server import dicomweb, openapi, orthanc
from researchpacs.server.auth import Access, AccessMiddleware
from researchpacs.server.bugs import BugMiddleware
from researchpacs.server.cross_origin import CrossOriginMiddleware, is_shared
from researchpacs.server.jobs import JobRunner
from researchpacs.server.limits import Limits, LimitsMiddleware
from researchpacs.server.slashes import TrailingSlashMiddleware
from researchpacs.server.stable import STABLE_AGE_S, StableWatch
from researchpacs.server.together import held_workspace

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["create_app"]


def create_app(
    pacs: "Pacs",
    *,
    access: Access,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    origins: Sequence[str] = (),
    stable_age_s: float = STABLE_AGE_S,
) -> Starlette:
    """Make the application.

    Parameters
    ----------
    pacs
        What is served; ``request.app.state.pacs`` in every endpoint. It stays open when the application ends.
    access
        Who may come in.
    limits
        What a request may cost; ``request.app.state.limits``.
    origins
        Web pages of other origins that may ask DICOMweb (CORS), such as ``"https://viewer.example.org"``.
    stable_age_s
        How long nothing may have come for an object before it is announced as stable.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        with held_workspace(pacs.archive), StableWatch(pacs, age_s=stable_age_s), JobRunner(pacs, orthanc.JOBS):
            yield

    app = Starlette(
        routes=_routes(pacs),
        middleware=[
            *([Middleware(CrossOriginMiddleware, origins=origins)] if origins else []),
            Middleware(TrailingSlashMiddleware),
            Middleware(LimitsMiddleware, limits=limits),
            Middleware(AccessMiddleware, access=access, origins=lambda scope: origins if is_shared(scope) else ()),
            Middleware(BugMiddleware),
        ],
        exception_handlers=orthanc.HANDLERS,
        lifespan=lifespan,
    )
    app.state.pacs = pacs
    app.state.limits = limits
    return app


def _routes(pacs: "Pacs") -> list[BaseRoute]:
    return [*openapi.routes(), *dicomweb.routes(pacs), *orthanc.routes(pacs)]
