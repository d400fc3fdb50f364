"""Storage commitment, modality worklist, and who may do what."""

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from tests.server.dimse.conftest import Tool, free_port, read_all

import researchpacs as rp
from researchpacs.archive._dimse._accept import CALLED_UNKNOWN, CALLING_UNKNOWN, Grant
from researchpacs.archive._dimse._contexts import COMMITMENT, ECHO, FIND, GET, MOVE, WORKLIST, Proposal, agree
from researchpacs.archive._dimse._negotiation import Request
from researchpacs.archive._peers import Peer
from researchpacs.server.dimse import Scp, ScpOptions, start_scp
from researchpacs.server.dimse._access import judge
from researchpacs.testing._instances import small_ct

pytestmark = pytest.mark.server

CT = small_ct().SOPClassUID
T = TypeVar("T")


# -- access ---------------------------------------------------------------------------------------------------------


def _judged(calling: str, address: str, *peers: Peer, called: str = "OURS", **options: object) -> object:
    request = Request(calling, called, [], 0)
    return judge(request, address, options=ScpOptions(aet="OURS", **options), peers=peers)  # type: ignore[arg-type]


def test_a_caller_from_this_machine_may_do_what_the_options_say() -> None:
    grant = _judged("ANY", "127.0.0.1")
    assert isinstance(grant, Grant)
    assert {ECHO, COMMITMENT, *FIND.values(), *GET.values(), *MOVE.values()} == set(grant.served)
    assert grant.storage
    assert _judged("ANY", "::ffff:127.0.0.1", local=frozenset({"echo"})) == Grant(frozenset({ECHO}), storage=False)
    assert _judged("ANY", "127.0.0.1", local=frozenset()) == CALLING_UNKNOWN
    assert _judged("ANY", "127.0.0.1", called="ELSE") == CALLED_UNKNOWN


def test_a_caller_from_elsewhere_has_to_be_a_peer_by_address_and_title() -> None:
    peer = Peer("ct", "CT1", "10.1.2.3", 104, allow=frozenset({"echo", "store"}))
    assert _judged("CT1", "10.1.2.3", peer) == Grant(frozenset({ECHO}), storage=True)
    assert _judged("CT1", "10.1.2.4", peer) == CALLING_UNKNOWN
    assert _judged("CT2", "10.1.2.3", peer) == CALLING_UNKNOWN
    assert _judged("CT1", "10.1.2.3", Peer("ct", "CT1", "10.1.2.3", 104)) == CALLING_UNKNOWN
    assert _judged("CT1", "10.1.2.3") == CALLING_UNKNOWN


def test_only_what_is_allowed_is_negotiated() -> None:
    unknown, verification = "1.2.3.4.5", Proposal(1, ECHO, [ExplicitVRLittleEndian])
    uids = [CT, unknown, FIND["study"], WORKLIST, "1.2.840.10008.5.1.1.9"]
    others = [Proposal(2 * number + 3, uid, [ExplicitVRLittleEndian]) for number, uid in enumerate(uids)]
    proposals = [verification, *others]
    granted = agree(proposals, served={ECHO}, storage=False)
    assert [one.result for one in granted] == [0, 1, 1, 1, 1, 3]
    granted = agree(proposals, served={ECHO, FIND["study"]}, storage=True)
    assert [one.result for one in granted] == [0, 0, 0, 0, 1, 3]
    assert agree([Proposal(1, CT, ["1.2.3"])], served=(), storage=True)[0].result == 4
    first_choice = agree([Proposal(1, CT, ["1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2"])], served=(), storage=True)
    assert first_choice[0].transfer_syntax_uid == "1.2.840.10008.1.2.4.90"


def test_a_caller_without_find_gets_no_answer_to_a_query(pacs: rp.Pacs, dcmtk: Tool) -> None:
    pacs.ingest(small_ct())
    with start_scp(pacs, ScpOptions(port=0, local=frozenset({"echo", "store"}))) as scp:
        where = ("-aec", scp.aet, "127.0.0.1", scp.port)
        dcmtk("echoscu", *where)
        done = dcmtk("findscu", "-S", "-k", "QueryRetrieveLevel=STUDY", *where, check=False)
        assert done.returncode
        assert "No Acceptable Presentation Contexts" in done.stderr + done.stdout


# -- storage commitment ---------------------------------------------------------------------------------------------


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """A real Orthanc; its HTTP and DICOM ports."""
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if program is None:
        pytest.skip("Orthanc is missing: apt-get install orthanc")
    http, dicom, folder = free_port(), free_port(), tmp_path / "orthanc"
    folder.mkdir()
    settings = {
        "StorageDirectory": str(folder), "IndexDirectory": str(folder), "HttpPort": http, "DicomPort": dicom,
        "DicomAet": "ORTHANC", "AuthenticationEnabled": False, "Plugins": [],
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(settings))
    process = subprocess.Popen(
        [program, str(folder / "orthanc.json")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    for _ in range(200):
        try:
            _rest(http, "GET", "/system")
        except OSError:
            time.sleep(0.05)
        else:
            break
    yield http, dicom
    process.terminate()
    process.wait(20)


def _rest(port: int, method: str, path: str, body: object = None) -> dict[str, object]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, method=method)
    with urllib.request.urlopen(request, timeout=20) as answer:
        content = answer.read()
    found: dict[str, object] = json.loads(content) if content else {}
    return found


def test_orthanc_is_told_what_is_kept_and_what_is_not(
    scp: Scp, pacs: rp.Pacs, orthanc: tuple[int, int], tmp_path: Path
) -> None:
    http, dicom = orthanc
    pacs.ingest([small_ct(1), small_ct(2)])
    for number in (4, 5):
        small_ct(number).save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
        pacs.ingest(tmp_path / f"{number}.dcm", copy=False)
    pacs.ingest(small_ct(5))
    pacs.peers.add("orthanc", aet="ORTHANC", host="127.0.0.1", port=dicom)
    _rest(http, "PUT", "/modalities/ours", {"AET": scp.aet, "Host": "127.0.0.1", "Port": scp.port})
    Path(pacs.archive.locate([small_ct(2).SOPInstanceUID])[0].path).unlink()
    asked = [{"SOPClassUID": CT, "SOPInstanceUID": small_ct(number).SOPInstanceUID} for number in range(1, 6)]
    started = _rest(http, "POST", "/modalities/ours/storage-commitment", {"DicomInstances": asked})
    for _ in range(100):
        report = _rest(http, "GET", str(started["Path"]))
        if report["Status"] != "Pending":
            break
        time.sleep(0.1)
    assert report["Status"] == "Failure"
    kept = {one["SOPInstanceUID"] for one in report["Success"]}  # type: ignore[index]
    assert kept == {small_ct(1).SOPInstanceUID, small_ct(5).SOPInstanceUID}
    failures = {one["SOPInstanceUID"]: one["FailureReason"] for one in report["Failures"]}  # type: ignore[index]
    reasons = {2: 0x0110, 3: 0x0112, 4: 0x0110}
    assert failures == {small_ct(number).SOPInstanceUID: reason for number, reason in reasons.items()}


def test_a_caller_that_is_no_peer_is_told_over_its_own_association(scp: Scp, pacs: rp.Pacs) -> None:
    from pynetdicom import AE, evt

    pacs.ingest(small_ct(1))
    reports: list[Dataset] = []

    def heard(event: object) -> tuple[int, None]:
        reports.append(event.event_information)  # type: ignore[attr-defined]
        return 0x0000, None

    ae = AE("SENDER")
    ae.add_requested_context(COMMITMENT)
    association = ae.associate("127.0.0.1", scp.port, ae_title=scp.aet, evt_handlers=[(evt.EVT_N_EVENT_REPORT, heard)])
    assert association.is_established
    asked, item = Dataset(), Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CT, small_ct(1).SOPInstanceUID
    asked.TransactionUID, asked.ReferencedSOPSequence = "1.2.3.4", [item]
    status, _ = association.send_n_action(asked, 1, COMMITMENT, "1.2.840.10008.1.20.1.1")
    assert status.Status == 0
    for _ in range(100):
        if reports:
            break
        time.sleep(0.05)
    association.release()
    assert reports[0].TransactionUID == "1.2.3.4"
    assert reports[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == small_ct(1).SOPInstanceUID
    assert "FailedSOPSequence" not in reports[0]


def test_a_report_outlives_the_node_and_reaches_a_peer_that_was_away(pacs: rp.Pacs) -> None:
    from pynetdicom import AE, evt

    pacs.ingest(small_ct(1))
    port = free_port()
    pacs.peers.add("sender", aet="SENDER", host="127.0.0.1", port=port)
    with start_scp(pacs, ScpOptions(port=0)) as scp:
        ae = AE("SENDER")
        ae.add_requested_context(COMMITMENT)
        association = ae.associate("127.0.0.1", scp.port, ae_title=scp.aet)
        asked, item = Dataset(), Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CT, small_ct(1).SOPInstanceUID
        asked.TransactionUID, asked.ReferencedSOPSequence = "1.2.3.9", [item]
        status, _ = association.send_n_action(asked, 1, COMMITMENT, "1.2.840.10008.1.20.1.1")
        association.release()
        assert status.Status == 0
        (job,) = _until(lambda: [one for one in pacs.archive.jobs.all() if one.state == "retry"])
        assert (job.kind, job.content["TransactionUid"]) == ("StorageCommitmentScp", "1.2.3.9")
        assert "cannot be reached" in job.error_details

    reports: list[Dataset] = []

    def heard(event: object) -> tuple[int, None]:
        reports.append(event.event_information)  # type: ignore[attr-defined]
        return 0x0000, None

    listener = AE("SENDER")
    listener.add_supported_context(COMMITMENT, scu_role=True, scp_role=True)
    server = listener.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, heard)])
    try:
        with start_scp(pacs, ScpOptions(port=0)):
            _until(lambda: pacs.archive.jobs.get(job.id).done)
    finally:
        server.shutdown()
    assert pacs.archive.jobs.get(job.id).state == "success"
    assert [one.TransactionUID for one in reports] == ["1.2.3.9"]


def _until(found: Callable[[], T]) -> T:
    give_up = time.monotonic() + 30
    while not (value := found()):
        assert time.monotonic() < give_up
        time.sleep(0.05)
    return value


# -- modality worklist ----------------------------------------------------------------------------------------------


def _item(name: str, patient: str, modality: str, date: str, **attributes: object) -> Dataset:
    ds, step = Dataset(), Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.PatientName, ds.PatientID, ds.AccessionNumber = name, patient, f"ACC{patient}"
    ds.StudyInstanceUID = f"1.2.3.{len(patient)}"
    step.Modality, step.ScheduledStationAETitle = modality, "SCANNER"
    step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime = date, "0930"
    step.ScheduledProcedureStepDescription = "Chest"
    ds.ScheduledProcedureStepSequence = [step]
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


@pytest.fixture
def worklist(tmp_path: Path) -> Path:
    folder = tmp_path / "worklist"
    folder.mkdir()
    _item("Müller^Anna", "P1", "CT", "20260301").save_as(folder / "a.wl")
    _item("Meier^Bert", "P22", "MR", "20260302").save_as(folder / "b.wl")
    (folder / "broken.wl").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 50)
    (folder / "notes.txt").write_text("not an item")
    return folder


def test_a_modality_gets_its_worklist(pacs: rp.Pacs, worklist: Path, dcmtk: Tool, tmp_path: Path) -> None:
    step = "ScheduledProcedureStepSequence[0]."
    with start_scp(pacs, ScpOptions(port=0, worklist=worklist)) as scp:

        def ask(number: int, *keys: str) -> list[Dataset]:
            folder = tmp_path / f"answers{number}"
            folder.mkdir()
            arguments = [part for key in keys for part in ("-k", key)]
            dcmtk("findscu", "-W", "-aec", scp.aet, "-X", "-od", folder, *arguments, "127.0.0.1", scp.port)
            return read_all(folder)

        (one,) = ask(1, "PatientName", "PatientID", f"{step}Modality=CT", f"{step}ScheduledProcedureStepStartDate")
        assert (str(one.PatientName), one.PatientID) == ("Müller^Anna", "P1")
        assert one.ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartDate == "20260301"
        assert len(ask(2, "PatientID", f"{step}ScheduledProcedureStepStartDate=20260301-20260302")) == 2
        assert [ds.PatientID for ds in ask(3, "PatientID", "PatientName=mei*")] == ["P22"]
        assert ask(4, "PatientID", f"{step}Modality=US") == []
        assert [ds.PatientID for ds in ask(5, "PatientID=P?")] == ["P1"]
        (worklist / "a.wl").unlink()
        assert [ds.PatientID for ds in ask(6, "PatientID", f"{step}ScheduledStationAETitle=SCANNER")] == ["P22"]


def test_without_a_folder_there_is_no_worklist(scp: Scp, dcmtk: Tool) -> None:
    done = dcmtk("findscu", "-W", "-aec", scp.aet, "-k", "PatientID", "127.0.0.1", scp.port, check=False)
    assert "No Acceptable Presentation Contexts" in done.stderr + done.stdout
