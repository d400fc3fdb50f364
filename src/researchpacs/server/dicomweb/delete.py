"""Delete studies, series and instances: not in the Standard, and offered by most servers as DELETE."""

from starlette.requests import Request
from starlette.responses import Response

from researchpacs.server.dicomweb._resources import named_instances, pacs_of

__all__ = ["delete"]


def delete(request: Request) -> Response:
    """``DELETE /studies/{study}`` and below; 204 when it is gone."""
    keys = [stored.key for stored in named_instances(request)]
    pacs_of(request).archive.delete_instances(keys)
    return Response(status_code=204)
