"""Merge and split: ``/studies/{id}/merge`` brings series into a study, ``/studies/{id}/split`` takes some out of it."""

import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from researchpacs.archive import Stored
from researchpacs.errors import NotFoundError
from researchpacs.server.jobs import Handler, Run
from researchpacs.server.modification import Modification, make_instance, move_instance, new_uids
from researchpacs.server.orthanc.bodies import body_object
from researchpacs.server.orthanc.dataset import header_of
from researchpacs.server.orthanc.errors import OrthancError
from researchpacs.server.orthanc.jobs import answer_as_job
from researchpacs.server.orthanc.modify import Made, delete_sources, finish, make_all, was_stored
from researchpacs.server.orthanc.zips import instances_of

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["HANDLERS", "routes"]


def routes(pacs: "Pacs") -> list[Route]:
    """The routes of this module."""

    def merge(request: Request) -> Response:
        options, study = body_object(request), request.path_params["id"]
        names = _names(options, "Resources")
        instances_of(pacs, [study], "study")
        for stored in instances_of(pacs, names):
            if stored.identity.orthanc_id("study") == study:
                raise NotFoundError("a resource cannot be merged into the study that it belongs to")
        return _start(pacs, "MergeStudy", study, names, options)

    def split(request: Request) -> Response:
        options, study = body_object(request), request.path_params["id"]
        names = [*_names(options, "Series", needed=False), *_names(options, "Instances", needed=False)]
        if not names:
            raise OrthancError(400, "Series or Instances has to name what is split off")
        for stored in instances_of(pacs, names):
            if stored.identity.orthanc_id("study") != study:
                raise NotFoundError("a resource that is split off has to belong to the study")
        Modification.parse("modify", "study", "", options)  # a mistake is told now, not in the job
        return _start(pacs, "SplitStudy", study, names, options)

    return [
        Route("/studies/{id}/merge", merge, methods=["POST"]),
        Route("/studies/{id}/split", split, methods=["POST"]),
    ]


def _names(options: Mapping[str, Any], key: str, *, needed: bool = True) -> list[str]:
    names = options.get(key, [])
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names) or (needed and not names):
        raise OrthancError(400, f"{key} has to be a list of names")
    return names


def _start(pacs: "Pacs", kind: str, study: str, names: Sequence[str], options: Mapping[str, Any]) -> Response:
    request = {
        "Study": study,
        "Resources": list(names),
        "Secret": secrets.token_hex(16),
        "Options": dict(options),
    }
    return answer_as_job(pacs, kind, request, options=options)


def _merge(run: Run) -> Mapping[str, Any]:
    if was_stored(run):
        return finish(run)
    request = run.job.request
    instances = instances_of(run.pacs, request["Resources"])
    first = instances_of(run.pacs, [request["Study"]], "study")[0]
    target = header_of(run.pacs, first)
    target.decode()
    new_uid = new_uids(Modification("modify", "series", request["Secret"]), instances)
    made = make_all(run, instances, lambda stored: move_instance(run.pacs, stored, target, new_uid))
    return _end(run, instances, made)


def _split(run: Run) -> Mapping[str, Any]:
    if was_stored(run):
        return finish(run)
    request = run.job.request
    instances = instances_of(run.pacs, request["Resources"])
    modification = Modification.parse("modify", "study", request["Secret"], request["Options"])
    new_uid = new_uids(modification, instances)
    made = make_all(run, instances, lambda stored: make_instance(run.pacs, stored, modification, new_uid))
    return _end(run, instances, made)


def _end(run: Run, instances: Sequence[Stored], made: Made) -> Mapping[str, Any]:
    first = made.identities[0]
    content = {
        **run.job.content,
        "FailedInstancesCount": made.failed,
        "InstancesCount": len(instances),
        "TargetStudy": first.orthanc_id("study"),
        "TargetStudyUID": first.study_uid,
    }
    if not run.job.request["Options"].get("KeepSource", False) and not made.failed:
        delete_sources(run, made, content)
    return content


HANDLERS: Mapping[str, Handler] = {"MergeStudy": _merge, "SplitStudy": _split}
"""By kind of job."""
