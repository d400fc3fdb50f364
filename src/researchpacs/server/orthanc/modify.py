"""Modify and anonymize: ``/{level}/{id}/modify`` and ``anonymize``, ``/tools/bulk-modify`` and ``bulk-anonymize``."""

import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from researchpacs.archive import Stored
from researchpacs.dicom.modify import as_tag
from researchpacs.errors import InvalidInputError, PixelDataError, ResearchPacsError, UnsupportedError
from researchpacs.ingest import incoming
from researchpacs.model import Identity, Incoming, Level, Refusal
from researchpacs.server.jobs import Handler, Run
from researchpacs.server.modification import Modification, make_instance, new_uids
from researchpacs.server.orthanc.bodies import body_object
from researchpacs.server.orthanc.errors import OrthancError
from researchpacs.server.orthanc.jobs import answer_as_job
from researchpacs.server.orthanc.names import LEVELS, PLURAL, TYPE
from researchpacs.server.orthanc.zips import instances_of, levels_of, transcode_of
from researchpacs.storage.durable import write_atomically

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["HANDLERS", "Made", "delete_sources", "finish", "make_all", "routes", "was_stored"]

_AT_ONCE = 32
_UIDS: Mapping[Level, str] = {
    "patient": "PatientID",
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
}
_STORED = "Stored"
"""In what is shown of a job between storing the new instances and deleting the old ones."""


class Made(NamedTuple):
    """What came of the instances of a job."""

    identities: list[Identity]
    """Of the new instances."""
    sources: list[Stored]
    """Of the instances they were made of, in the same order."""
    failed: int


def routes(pacs: "Pacs") -> list[Route]:
    """The routes of this module."""
    made = []
    for operation in ("modify", "anonymize"):
        for level, plural in PLURAL.items():
            endpoint = _of_instance(pacs, operation) if level == "instance" else _of_level(pacs, level, operation)
            made.append(Route(f"/{plural}/{{id}}/{operation}", endpoint, methods=["POST"]))
        made.append(Route(f"/tools/bulk-{operation}", _of_many(pacs, operation), methods=["POST"]))
    return made


def _of_instance(pacs: "Pacs", operation: Any) -> Any:
    def endpoint(request: Request) -> Response:
        options = body_object(request)
        transcode_of(options)
        instances = instances_of(pacs, [request.path_params["id"]], "instance")
        modification = Modification.parse(operation, _level_of(options), secrets.token_hex(16), options)
        content = make_instance(pacs, instances[0], modification, new_uids(modification, instances))
        return StreamingResponse(content, media_type="application/dicom")

    return endpoint


def _level_of(options: Mapping[str, Any]) -> Level:
    """The level that a change of one instance is meant for: what moves to another parent needs new UIDs below it."""
    replace = options.get("Replace")
    named = {int(as_tag(name)) for name in replace} if isinstance(replace, Mapping) else set()
    return next((level for level, keyword in _UIDS.items() if int(as_tag(keyword)) in named), "instance")


def _of_level(pacs: "Pacs", level: Level, operation: Any) -> Any:
    def endpoint(request: Request) -> Response:
        options = body_object(request)
        return _start(pacs, [request.path_params["id"]], level, operation, options, bulk=False)

    return endpoint


def _of_many(pacs: "Pacs", operation: Any) -> Any:
    def endpoint(request: Request) -> Response:
        options = body_object(request)
        names = options.get("Resources")
        if not isinstance(names, list) or not names or not all(isinstance(one, str) for one in names):
            raise OrthancError(400, "Resources has to be a list of names")
        known = [level for name in names for level in levels_of(pacs, name)]
        if "Level" in options:
            level = next((one for one in LEVELS if TYPE[one].lower() == str(options["Level"]).lower()), None)
        else:
            # UIDs below the highest level that is named are renewed.
            level = next((one for one in LEVELS if one in known), "study")
        if level is None:
            raise OrthancError(400, "Level has to be Patient, Study, Series or Instance")
        return _start(pacs, names, level, operation, options, bulk=True)

    return endpoint


def _start(
    pacs: "Pacs", names: Sequence[str], level: Level, operation: Any, options: Mapping[str, Any], *, bulk: bool
) -> Response:
    transcode_of(options)
    instances_of(pacs, names, None if bulk else level)
    secret = secrets.token_hex(16)
    Modification.parse(operation, level, secret, options)  # a mistake is told now, not in the job
    request = {
        "Operation": operation,
        "Level": level,
        "Resources": list(names),
        "Bulk": bulk,
        "Secret": secret,
        "Options": dict(options),
    }
    return answer_as_job(pacs, "ResourceModification", request, options=options)


def _run(run: Run) -> Mapping[str, Any]:
    request = run.job.request
    options = request["Options"]
    if was_stored(run):
        return finish(run)
    modification = Modification.parse(request["Operation"], request["Level"], request["Secret"], options)
    instances = instances_of(run.pacs, request["Resources"], None if request["Bulk"] else request["Level"])
    new_uid = new_uids(modification, instances)
    made = make_all(run, instances, lambda stored: make_instance(run.pacs, stored, modification, new_uid))
    content = {
        **run.job.content,
        "IsAnonymization": request["Operation"] == "anonymize",
        "InstancesCount": len(instances),
        "FailedInstancesCount": made.failed,
        **_outputs(made.identities, request["Level"], bulk=request["Bulk"]),
    }
    if not options.get("KeepSource", True) and not made.failed:
        delete_sources(run, made, content)
    return content


def delete_sources(run: Run, made: Made, content: Mapping[str, Any]) -> None:
    """Delete what the new instances were made of.

    What will be deleted is written down first: a job that begins anew in the middle would not find its sources again.
    """
    write_atomically(_list_of(run), json.dumps([stored.key for stored in made.sources]).encode())
    run.step(0.99, {**content, _STORED: True})
    finish(run)


def was_stored(run: Run) -> bool:
    """Whether an earlier attempt at the job stored all and was cut short while it deleted."""
    return _STORED in run.job.content


def finish(run: Run) -> Mapping[str, Any]:
    """Delete what is written down, and give what the job shows in the end."""
    if _list_of(run).exists():
        run.pacs.archive.delete_instances(json.loads(_list_of(run).read_bytes()))
        _list_of(run).unlink()
    return {name: value for name, value in run.job.content.items() if name != _STORED}


def _list_of(run: Run) -> Path:
    return run.pacs.archive.jobs.output(run.job.id)


def make_all(run: Run, instances: Sequence[Stored], make: Callable[[Stored], Iterable[bytes]]) -> Made:
    """Make and store the new instances of a job; one that cannot be made does not hold up the others.

    Raises
    ------
    ResearchPacsError
        None of them could be made; the reason of the first.
    """
    made = Made([], [], 0)
    failed: list[ResearchPacsError] = []
    for start in range(0, len(instances), _AT_ONCE):
        run.step(0.98 * start / len(instances))
        files: dict[str, Stored] = {}
        for stored in instances[start : start + _AT_ONCE]:
            try:
                content = make(stored)
            except (InvalidInputError, UnsupportedError, PixelDataError) as error:
                failed.append(error)
                continue
            blob = run.tmp / f"{secrets.token_hex(8)}.dcm"
            with blob.open("xb") as file:
                file.writelines(content)
            files[str(blob)] = stored
        _store(run, files, made, failed)
    if failed and not made.identities:
        raise failed[0]
    return made._replace(failed=len(failed))


def _store(run: Run, files: Mapping[str, Stored], made: Made, failed: list[ResearchPacsError]) -> None:
    """Store files that were made, by the door that all come in by, many in one commit."""
    checked = list(incoming([Path(name) for name in files], tmp=run.tmp, progress=False))
    outcomes = list(run.pacs.archive.store([one for one in checked if isinstance(one, Incoming)]))
    refused = [one.reason for one in checked if isinstance(one, Refusal)]
    refused += [one.reason for one in outcomes if one.kind in ("refused", "conflict")]
    failed += [InvalidInputError(f"a new instance cannot be stored: {reason}") for reason in refused]
    for outcome in outcomes:
        if outcome.kind in ("stored", "duplicate") and outcome.identity is not None:
            made.identities.append(outcome.identity)
            made.sources.append(files[outcome.source])
    for name in files:
        Path(name).unlink(missing_ok=True)


def _outputs(identities: Sequence[Identity], level: Level, *, bulk: bool) -> dict[str, Any]:
    """Name what was made, as the job shows it."""
    if not bulk:
        first = identities[0]
        name = first.orthanc_id(level)
        return {
            "ID": name,
            "Path": f"/{PLURAL[level]}/{name}",
            "PatientID": first.orthanc_id("patient"),
            "Type": TYPE[level],
        }
    names = {(one, identity.orthanc_id(one)): None for one in reversed(LEVELS) for identity in identities}
    return {
        "Resources": [{"ID": name, "Path": f"/{PLURAL[one]}/{name}", "Type": TYPE[one]} for one, name in names],
    }


HANDLERS: Mapping[str, Handler] = {"ResourceModification": _run}
"""By kind of job."""
