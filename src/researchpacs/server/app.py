"""One Starlette application over one archive.

Endpoints are plain functions, which Starlette runs in its thread pool, so that a slow disk holds up nobody else.
"""

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from researchpacs.server import orthanc
from researchpacs.server.auth import Access, AccessMiddleware
from researchpacs.server.limits import Limits, LimitsMiddleware
from researchpacs.server.slashes import TrailingSlashMiddleware

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["create_app"]


def create_app(pacs: "Pacs", *, access: Access, limits: Limits = Limits()) -> Starlette:  # noqa: B008 - frozen
    """Make the application.

    Parameters
    ----------
    pacs
        What is served; ``request.app.state.pacs`` in every endpoint. It stays open when the application ends.
    access
        Who may come in.
    limits
        What a request may cost; ``request.app.state.limits``.
    """

    app = Starlette(
        routes=_routes(pacs),
        middleware=[
            Middleware(TrailingSlashMiddleware),
            Middleware(LimitsMiddleware, limits=limits),
            Middleware(AccessMiddleware, access=access),
        ],
        exception_handlers=orthanc.HANDLERS,
    )
    app.state.pacs = pacs
    app.state.limits = limits
    return app


def _routes(pacs: "Pacs") -> list[BaseRoute]:
    return [*orthanc.routes(pacs)]
