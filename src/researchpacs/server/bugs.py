"""What nobody expected: answered with 500 and logged by kind and place, because its message may quote a data set."""

import logging
import traceback

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from researchpacs.server.orthanc.errors import OrthancError, error_response

__all__ = ["BugMiddleware"]

_log = logging.getLogger(__name__)


class BugMiddleware:
    """Answers where an endpoint failed.

    Parameters
    ----------
    app
        What answers otherwise.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            await self.app(scope, receive, watched)
        except ClientDisconnect:
            _log.info("%s: the client went away before its body was complete", scope["method"])
            await error_response(Request(scope), OrthancError(400))(scope, receive, send)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            _log.error("%s failed: %s at %s:%s", scope["method"], type(error).__name__, place.filename, place.lineno)
            if started:
                # The answer is cut off: a server ends the connection then, lest the client takes it for whole.
                return
            await error_response(Request(scope), OrthancError(500))(scope, receive, send)
