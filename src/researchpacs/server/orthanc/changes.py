"""The change feed that peers follow: ``/changes``."""

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from researchpacs.archive.resources import Entry
from researchpacs.server.orthanc.answers import as_json, flag, number
from researchpacs.server.orthanc.names import PLURAL, TYPE, moment

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["routes"]

_PAGE = 100


def routes(pacs: "Pacs") -> list[Route]:
    """The routes of this module."""

    def changes(request: Request) -> Response:
        journal = pacs.archive.resources.journal
        last_line = next(iter(journal(since=0, limit=1, descending=True)), None)
        newest = last_line.seq if last_line else 0
        if flag(request, "last"):
            lines = [last_line] if last_line else []
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

    return [Route("/changes", changes, methods=["GET"])]


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
