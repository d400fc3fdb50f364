"""The change feed that peers follow: ``/changes``; and ``/exports``."""

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from researchpacs.archive.resources import Entry
from researchpacs.server.orthanc.answers import as_json, as_text, flag, number
from researchpacs.server.orthanc.names import PLURAL, TYPE, moment

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["routes"]

_PAGE = 100


def routes(pacs: "Pacs") -> list[Route]:
    """The routes of this module."""

    def changes(request: Request) -> Response:
        journal = pacs.archive.resources.journal
        newest = pacs.archive.resources.last_line()
        if flag(request, "last"):
            lines = journal(since=0, limit=1, descending=True)
            return as_json(_page(lines, first=newest, last=newest, done=True))
        since = number(request, "since", 0)
        limit = number(request, "limit", _PAGE) or _PAGE
        backwards = "to" in request.query_params and "since" not in request.query_params
        until = number(request, "to", 0) if "to" in request.query_params else None
        wanted = set(filter(None, request.query_params.get("type", "").split(";")))
        lines = journal(
            since=since, limit=limit + 1, until=until, descending=backwards, names=_as_kinds(wanted) if wanted else None
        )
        page = lines[:limit]
        if backwards:
            page.reverse()
        last = page[-1].seq if page else (since or newest)
        first = page[0].seq if page else since
        return as_json(_page(page, first=first, last=last, done=len(lines) <= limit))

    def forget(_: Request) -> Response:
        pacs.archive.resources.forget_journal()
        return as_text("")

    return [
        Route("/changes", changes, methods=["GET"]),
        Route("/changes", forget, methods=["DELETE"]),
        Route("/exports", _exports, methods=["GET"]),
        Route("/exports", lambda _: as_text(""), methods=["DELETE"]),
    ]


def _exports(_: Request) -> Response:
    """What was sent where is not logged, as in an Orthanc that is not told to."""
    return as_json({"Done": True, "Exports": [], "Last": 0})


def _page(lines: list[Entry], *, first: int, last: int, done: bool) -> dict[str, Any]:
    return {"Changes": [_change(line) for line in lines], "Done": done, "First": first, "Last": last}


def _change(line: Entry) -> dict[str, Any]:
    return {
        "ChangeType": f"{line.kind.capitalize()}{TYPE[line.level]}",
        "Date": moment(line.at),
        "ID": line.orthanc_id,
        "Path": f"/{PLURAL[line.level]}/{line.orthanc_id}",
        "ResourceType": TYPE[line.level],
        "Seq": line.seq,
    }


def _as_kinds(types: set[str]) -> list[str]:
    """``NewStudy`` as the journal's ``new study``; types that never happen here match nothing."""
    known = {f"{kind.capitalize()}{TYPE[level]}": f"{kind} {level}" for kind in ("new", "stable") for level in TYPE}
    return [known[one] for one in types if one in known]
