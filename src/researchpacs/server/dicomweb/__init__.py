"""DICOMweb (PS3.18): search, retrieve, store and delete at ``/dicom-web``, WADO-URI at ``/wado``."""

from typing import TYPE_CHECKING

from starlette.routing import BaseRoute, Route

from researchpacs.server.dicomweb import delete, frames, render, retrieve, search, store, uri
from researchpacs.server.dicomweb._answers import Endpoint, endpoint, storing
from researchpacs.server.dicomweb._resources import ROOT

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["ROOT", "routes"]

_STUDY = f"{ROOT}/studies/{{study}}"
_SERIES = f"{_STUDY}/series/{{series}}"
_INSTANCE = f"{_SERIES}/instances/{{instance}}"
_FRAMES = f"{_INSTANCE}/frames/{{frames}}"


def routes(pacs: "Pacs") -> list[BaseRoute]:
    """The routes, to be put before any that catch more; the archive is ``request.app.state.pacs``."""
    getting: list[tuple[str, Endpoint]] = [
        (f"{ROOT}/studies", search.search_studies),
        (f"{ROOT}/series", search.search_series),
        (f"{ROOT}/instances", search.search_instances),
        (f"{_STUDY}/series", search.search_series),
        (f"{_STUDY}/instances", search.search_instances),
        (f"{_SERIES}/instances", search.search_instances),
        (_FRAMES, frames.frames),
        (f"{_FRAMES}/rendered", render.rendered),
        (f"{_FRAMES}/thumbnail", render.thumbnail),
        (f"{_INSTANCE}/bulkdata/{{path:path}}", frames.bulk_data),
        ("/wado", uri.wado_uri),
    ]
    for path in (_STUDY, _SERIES, _INSTANCE):
        getting += [
            (path, retrieve.retrieve),
            (f"{path}/metadata", retrieve.metadata),
            (f"{path}/rendered", render.rendered),
            (f"{path}/thumbnail", render.thumbnail),
        ]
    return [
        *(Route(path, endpoint(delete.delete), methods=["DELETE"]) for path in (_STUDY, _SERIES, _INSTANCE)),
        *(Route(path, storing(store.store), methods=["POST"]) for path in (f"{ROOT}/studies", _STUDY)),
        *(Route(path, endpoint(answer), methods=["GET"]) for path, answer in getting),
    ]
