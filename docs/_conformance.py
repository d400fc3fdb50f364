"""The tables of conformance.md, made from the code: `python docs/_conformance.py` writes them into the page."""

import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent / "conformance.md"
_TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_SCU = {
    "Verification": "SCU, SCP",
    "FIND": "SCU, SCP",
    "MOVE": "SCU, SCP",
    "GET": "SCU, SCP",
    "Storage Commitment": "SCP",
}
"""What the other role of a SOP class is; the SCP's is in the code of the node."""
_DICOMWEB = {
    "search": "`application/dicom+json`, `application/json`",
    "retrieve": '`multipart/related; type="application/dicom"`; one instance also `application/dicom`',
    "metadata": "`application/dicom+json`, `application/json`",
    "frames": "`application/octet-stream`, or what the stored frames are; alone, or as `multipart/related` of these",
    "bulkdata": '`application/octet-stream`, alone or `multipart/related; type="application/octet-stream"`',
    "rendered": "`image/jpeg`, `image/png`, `image/gif`",
    "thumbnail": "`image/jpeg`, `image/png`, `image/gif`",
    "store": '`application/dicom+json`; sent as `multipart/related; type="application/dicom"`',
    "delete": "no content",
    "wado": "`contentType`: `application/dicom`, `image/jpeg`, `image/png`, `image/gif`",
}
"""What an answer may be, by the kind of route."""


def filled(page: str) -> str:
    """The page with every table as the code has it."""
    return _TABLE.sub(lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n\n{found[3]}", page)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _uid_name(uid: str) -> str:
    from pydicom.uid import UID

    return UID(uid).name.replace("(Retired)", "(retired)")


# -- DIMSE ------------------------------------------------------------------------------------------------------------


def storage() -> str:
    """Every storage class that is known by name."""
    from researchpacs.archive._dimse._contexts import _storage_classes

    return _table(("SOP class", "UID"), sorted((_uid_name(uid), f"`{uid}`") for uid in _storage_classes()))


def services() -> str:
    """The other SOP classes."""
    from researchpacs.server.dimse._handlers import handlers_of
    from researchpacs.server.dimse._options import ScpOptions

    none: Any = None
    served = handlers_of(none, none, ScpOptions(worklist=Path(tempfile.gettempdir())))
    uids = dict.fromkeys(uid for _, uid in served if uid != "storage")
    rows = [(_uid_name(uid), f"`{uid}`", _role(_uid_name(uid))) for uid in uids]
    return _table(("SOP class", "UID", "role"), [("Storage, all of the table below", "", "SCU, SCP"), *rows])


def _role(name: str) -> str:
    return next(roles for part, roles in _SCU.items() if part in name)


def syntaxes() -> str:
    """Transfer syntaxes."""
    from researchpacs.archive._dimse._contexts import storage_transfer_syntaxes
    from researchpacs.dicom._pixel_codecs import _CODECS, _DEFLATED_FRAMES, _RLE
    from researchpacs.dicom.transcode import TARGETS
    from researchpacs.server.dicomweb._syntaxes import _NATIVE, frame_media_type

    decoded = {*_CODECS, _DEFLATED_FRAMES, _RLE, *_NATIVE}
    rows = [
        (
            _uid_name(uid),
            f"`{uid}`",
            "yes" if uid in decoded else "",
            "yes" if uid in TARGETS else "",
            f"`{frame_media_type(uid)}`",
        )
        for uid in sorted(storage_transfer_syntaxes(), key=lambda uid: [int(part) for part in uid.split(".")])
    ]
    return _table(("transfer syntax", "UID", "decoded", "written", "frames by DICOMweb"), rows)


def association() -> str:
    """What is negotiated, and where it ends."""
    from researchpacs.archive._dimse._association import Timeouts
    from researchpacs.archive._dimse._negotiation import VERSION_NAME
    from researchpacs.archive._dimse._pdu import LONGEST_PDU
    from researchpacs.dicom.uids import IMPLEMENTATION_CLASS_UID
    from researchpacs.server.dimse._options import ScpOptions
    from researchpacs.server.dimse._rests import GIVES_WAY_S

    options, times = ScpOptions(), Timeouts()
    rows = [
        ("application context", "`1.2.840.10008.3.1.1.1`"),
        ("implementation class UID", f"`{IMPLEMENTATION_CLASS_UID}`"),
        ("implementation version name", f"`{VERSION_NAME}`"),
        ("AE title, unless told otherwise", f"`{options.aet}`"),
        ("port, unless told otherwise", str(options.port)),
        ("longest PDU that is taken", f"{LONGEST_PDU:,} bytes"),
        ("associations at one time as SCP", str(options.most_associations)),
        ("largest instance by C-STORE", f"{options.most_bytes >> 30} GiB"),
        ("asynchronous operations", "none: one at a time in each association"),
        ("time-out of a connection", f"{times.connect:g} s"),
        ("time-out of a negotiation, ARTIM", f"{times.negotiate:g} s"),
        ("time-out of a response", f"{times.answer:g} s"),
        ("time-out of an idle association", f"{times.idle:g} s; {GIVES_WAY_S:g} s where all others are taken"),
        ("time-out of the rest of a PDU", f"{times.patience:g} s"),
    ]
    return _table(("", ""), rows)


def keys() -> str:
    """What can be asked for, by level."""
    from researchpacs.dicom.keywords import INDEXED, vr_of

    rows = [
        (level, keyword, str(vr_of(keyword)), _matching(keyword, str(vr_of(keyword))))
        for level, keywords in INDEXED.items()
        for keyword in keywords
    ]
    return _table(("level", "key", "VR", "matching"), rows)


def _matching(keyword: str, vr: str) -> str:
    if keyword.endswith("InstanceUID"):
        return "single value, list of UIDs; unique key"
    if vr in ("DA", "TM", "DT"):
        return "single value, range"
    if vr == "UI":
        return "single value, list of UIDs"
    return "single value" if vr in ("DS", "IS", "US") else "single value, wildcard, list"


def character_sets() -> str:
    """What text is read in."""
    from pydicom.charset import python_encoding

    found = sorted(name for name in python_encoding if name)
    return _table(("SpecificCharacterSet", "read as"), [(f"`{name}`", f"`{python_encoding[name]}`") for name in found])


# -- HTTP -------------------------------------------------------------------------------------------------------------


def dicomweb() -> str:
    """Routes below ``/dicom-web``, and ``/wado``."""
    rows = [
        (method, f"`{path}`", _DICOMWEB[_kind(method, path)])
        for path, methods in _routes().items()
        if (path.startswith("/dicom-web/") and "/servers" not in path) or path == "/wado"
        for method in methods
    ]
    return _table(("method", "resource", "media types"), rows)


def _kind(method: str, path: str) -> str:
    last = next((part for part in reversed(path.split("/")) if not part.startswith("{")), "")
    if method in ("POST", "DELETE"):
        return "store" if method == "POST" else "delete"
    if last in _DICOMWEB:
        return last
    return "retrieve" if path.endswith("}") else "search"


def orthanc() -> str:
    """Routes of Orthanc's API, those of the four levels in one line."""
    found: dict[str, set[str]] = {}
    for path, methods in _routes().items():
        if path == "/wado" or (path.startswith("/dicom-web/") and "/servers" not in path):
            continue
        shown = re.sub(r"^/(patients|studies|series|instances)(?=/|$)", "/{level}", path)
        found.setdefault(shown, set()).update(methods)
    rows = [(f"`{path}`", ", ".join(sorted(methods))) for path, methods in sorted(found.items())]
    return _table(("resource", "methods"), rows)


def limits() -> str:
    """What a request may cost."""
    from researchpacs.server.limits import Limits

    caps = Limits()
    rows = [
        ("a body that brings instances or attachments", f"{caps.upload_bytes >> 30} GiB"),
        ("a body of `/tools/create-dicom`", f"{caps.document_bytes >> 20} MiB"),
        ("any other body", f"{caps.body_bytes >> 20} MiB"),
    ]
    return _table(("", "at most"), rows)


def route_paths() -> set[str]:
    """Every path that the server answers, parameters as ``{}``."""
    return {re.sub(r"\{[^}]*\}", "{}", path) for path in _routes()}


def _routes() -> Mapping[str, list[str]]:
    import researchpacs
    from researchpacs.server import dicomweb, orthanc

    found: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder, researchpacs.connect(Path(folder) / "home") as pacs:
        for route in (*dicomweb.routes(pacs), *orthanc.routes(pacs)):
            methods: Iterable[str] = getattr(route, "methods", None) or ()
            path = re.sub(r"\{(\w+):\w+\}", r"{\1}", str(getattr(route, "path", "")))
            found.setdefault(path, []).extend(sorted(set(methods) - {"HEAD"}))
    return found


TABLES: Mapping[str, Callable[[], str]] = {
    "association": association,
    "character_sets": character_sets,
    "dicomweb": dicomweb,
    "keys": keys,
    "limits": limits,
    "orthanc": orthanc,
    "services": services,
    "storage": storage,
    "syntaxes": syntaxes,
}

if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
