"""dcmtk's tools store to, query and retrieve from our SCP."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from tests.server.dimse.conftest import Tool, free_port, read_all, write

import researchpacs as rp
from researchpacs.server.dimse import Scp, ScpOptions, start_scp
from researchpacs.testing._instances import small_ct

pytestmark = pytest.mark.server

STUDY = small_ct().StudyInstanceUID


@pytest.fixture
def filled(scp: Scp, slices: list[Path], dcmtk: Tool) -> Scp:
    dcmtk("storescu", "-aec", scp.aet, "127.0.0.1", scp.port, *slices)
    return scp


class Asked:
    """What findscu was answered."""

    def __init__(self, dcmtk: Tool, scp: Scp, folder: Path) -> None:
        self._dcmtk, self._scp, self._folder = dcmtk, scp, folder
        self._count = 0

    def __call__(self, *keys: str, model: str = "-S") -> list[Dataset]:
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir(parents=True)
        arguments = [part for key in keys for part in ("-k", key)]
        self._dcmtk(
            "findscu", model, "-aec", self._scp.aet, "-X", "-od", folder, *arguments, "127.0.0.1", self._scp.port
        )
        return read_all(folder)


@pytest.fixture
def ask(dcmtk: Tool, filled: Scp, tmp_path: Path) -> Asked:
    return Asked(dcmtk, filled, tmp_path / "answers")


# -- echo and store -------------------------------------------------------------------------------------------------


def test_echo_is_answered(scp: Scp, dcmtk: Tool) -> None:
    dcmtk("echoscu", "-aec", scp.aet, "127.0.0.1", scp.port)


def test_another_called_ae_title_is_refused(scp: Scp, dcmtk: Tool) -> None:
    done = dcmtk("echoscu", "-aec", "SOMEONE", "127.0.0.1", scp.port, check=False)
    assert "Called AE Title Not Recognized" in done.stderr + done.stdout


def test_what_is_stored_can_be_searched_and_read(filled: Scp, pacs: rp.Pacs, slices: list[Path]) -> None:
    assert len(pacs.search("instance")) == len(slices)
    sent, stored = dcmread(slices[0]), pacs.search("instance", SOPInstanceUID=dcmread(slices[0]).SOPInstanceUID).one()
    assert stored.header().PatientID == sent.PatientID
    assert pacs.verify().ok


def test_every_storage_class_and_transfer_syntax_is_accepted(scp: Scp) -> None:
    """Those of the Standard as pydicom lists them, and a private class."""
    from pydicom._uid_dict import UID_dictionary
    from pydicom.uid import AllTransferSyntaxes, ExplicitVRLittleEndian
    from pynetdicom import AE, build_context

    names = {uid: name for uid, (name, kind, *_) in UID_dictionary.items() if kind == "SOP Class"}
    # A directory of a medium is no instance (PS3.10 8.6), and commitment stores nothing.
    others = ("Commitment", "Directory")
    classes = [uid for uid, name in names.items() if " Storage" in name and not any(one in name for one in others)]
    classes.append("1.3.12.2.1107.5.9.1")
    wanted = [(uid, str(ExplicitVRLittleEndian)) for uid in classes]
    wanted += [(str(small_ct().SOPClassUID), str(syntax)) for syntax in AllTransferSyntaxes]
    assert len(classes) > 150
    for start in range(0, len(wanted), 120):
        asked = wanted[start : start + 120]
        contexts = [build_context(sop_class, syntax) for sop_class, syntax in asked]
        association = AE().associate("127.0.0.1", scp.port, contexts, ae_title=scp.aet)
        try:
            accepted = [(one.abstract_syntax, one.transfer_syntax[0]) for one in association.accepted_contexts]
        finally:
            association.release()
        assert accepted == asked


def test_the_same_again_and_other_content_are_success(
    filled: Scp, pacs: rp.Pacs, slices: list[Path], dcmtk: Tool, tmp_path: Path
) -> None:
    other = write(small_ct(1, seed=9), tmp_path / "other.dcm")
    before = pacs.archive.read(small_ct(1).SOPInstanceUID)
    done = dcmtk("storescu", "-v", "-aec", filled.aet, "127.0.0.1", filled.port, slices[0], other)
    assert (done.stdout + done.stderr).count("(Success)") == 2
    assert pacs.archive.read(small_ct(1).SOPInstanceUID) == before
    assert len(list(pacs.archive.home.conflicts.iterdir())) == 1


def test_nothing_is_left_in_the_workspace(filled: Scp, pacs: rp.Pacs) -> None:
    time.sleep(0.1)
    assert not list(pacs.archive.home.tmp.rglob("*.part"))


def test_storing_from_four_associations_at_once_loses_nothing(
    scp: Scp, pacs: rp.Pacs, dcmtk: Tool, tmp_path: Path
) -> None:
    files = [write(small_ct(number, size=8), tmp_path / "many" / f"{number}.dcm") for number in range(1, 81)]
    running = [
        subprocess.Popen(["storescu", "-aec", scp.aet, "127.0.0.1", str(scp.port), *map(str, files[part::4])])
        for part in range(4)
    ]
    assert [process.wait(60) for process in running] == [0] * 4
    assert len(pacs.search("instance")) == 80


# -- find -----------------------------------------------------------------------------------------------------------


def test_find_matches_studies_by_every_kind(ask: Asked) -> None:
    def patients(*keys: str) -> set[str]:
        return {str(ds.PatientID) for ds in ask("QueryRetrieveLevel=STUDY", "PatientID", *keys)}

    assert patients() == {"A", "B-17"}
    assert patients("PatientID=B*") == {"B-17"}
    assert patients("PatientID=?") == {"A"}
    assert patients("PatientID=a") == set()
    assert patients("PatientName=test*") == {"A"}
    assert patients("StudyDate=20230101-20231231") == {"B-17"}
    assert patients("StudyDate=20240101-") == {"A"}
    assert patients("StudyDate=-20231231") == {"B-17"}
    assert patients("StudyTime=0800-0815") == {"B-17"}
    assert patients(rf"StudyInstanceUID={STUDY}\1.2.3.4") == {"A", "B-17"}
    assert patients("StudyInstanceUID=1.2.3.4") == {"B-17"}
    assert patients("ModalitiesInStudy=PT") == {"B-17"}
    assert patients(r"ModalitiesInStudy=MR\CT") == {"A"}
    assert patients("AccessionNumber=X[1]") == {"B-17"}
    assert patients("PatientID=*", "PatientName=*") == {"A", "B-17"}
    assert patients("KVP=999") == {"A", "B-17"}, "a key that is not supported does not match"


def test_find_answers_at_every_level_of_both_models(ask: Asked) -> None:
    (study,) = ask("QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2.3.4", "PatientName", "ModalitiesInStudy",
                   "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "KVP")  # fmt: skip
    assert str(study.PatientName) == "Müller^Jürgen"
    assert study.SpecificCharacterSet == "ISO_IR 192"
    assert (study.ModalitiesInStudy, study.NumberOfStudyRelatedSeries, study.NumberOfStudyRelatedInstances) == (
        "PT", 1, 3,
    )  # fmt: skip
    assert study.RetrieveAETitle == "RESEARCHPACS"
    assert "KVP" not in study
    (series,) = ask("QueryRetrieveLevel=SERIES", f"StudyInstanceUID={STUDY}", "SeriesInstanceUID", "Modality",
                    "NumberOfSeriesRelatedInstances", "ProtocolName")  # fmt: skip
    assert (series.Modality, series.NumberOfSeriesRelatedInstances) == ("CT", 6)
    assert series["ProtocolName"].is_empty
    images = ask("QueryRetrieveLevel=IMAGE", f"StudyInstanceUID={STUDY}", "SOPInstanceUID", "InstanceNumber", "Rows",
                 "ImageType")  # fmt: skip
    assert sorted(ds.InstanceNumber for ds in images) == [1, 2, 3, 4, 5, 6]
    assert {ds.Rows for ds in images} == {16}
    assert list(images[0].ImageType) == ["DERIVED", "PRIMARY", "AXIAL"]
    patients = ask("QueryRetrieveLevel=PATIENT", "PatientID", "PatientSex", model="-P")
    assert sorted(ds.PatientID for ds in patients) == ["A", "B-17"]
    assert ask("QueryRetrieveLevel=STUDY", "PatientID=B-17", "StudyInstanceUID", model="-P")[0].StudyInstanceUID == (
        "1.2.3.4"
    )


def test_a_question_without_a_level_fails(filled: Scp, dcmtk: Tool) -> None:
    for keys in (["-k", "PatientID=A"], ["-k", "QueryRetrieveLevel=ROOM"], ["-k", "QueryRetrieveLevel=PATIENT"]):
        done = dcmtk("findscu", "-v", "-S", "-aec", filled.aet, *keys, "127.0.0.1", filled.port, check=False)
        assert "datasetdoesnotmatchsopclass" in (done.stdout + done.stderr).lower()


# -- get and move ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "count"),
    [
        (["QueryRetrieveLevel=STUDY", f"StudyInstanceUID={STUDY}"], 6),
        (["QueryRetrieveLevel=SERIES", "StudyInstanceUID=1.2.3.4", "SeriesInstanceUID=1.2.3.4.5"], 3),
        (["QueryRetrieveLevel=IMAGE", f"StudyInstanceUID={STUDY}", f"SOPInstanceUID={small_ct(2).SOPInstanceUID}"], 1),
        (["QueryRetrieveLevel=STUDY", "StudyInstanceUID=9.9.9"], 0),
    ],
)
def test_get_brings_what_was_stored(
    filled: Scp, dcmtk: Tool, slices: list[Path], tmp_path: Path, keys: list[str], count: int
) -> None:
    folder = tmp_path / "got"
    folder.mkdir()
    arguments = [part for key in keys for part in ("-k", key)]
    dcmtk("getscu", "-S", "-aec", filled.aet, "-od", folder, *arguments, "127.0.0.1", filled.port)
    sent = {ds.SOPInstanceUID: ds for ds in map(dcmread, slices)}
    got = read_all(folder)
    assert len(got) == count
    assert all(ds == sent[ds.SOPInstanceUID] for ds in got)


@pytest.fixture
def receiver(tmp_path: Path, dcmtk: Tool) -> Iterator[tuple[int, Path]]:
    """dcmtk's storescp, called RECEIVER."""
    folder, port = tmp_path / "received", free_port()
    folder.mkdir()
    process = subprocess.Popen(["storescp", "-aet", "RECEIVER", "-od", str(folder), "+xa", str(port)])
    for _ in range(100):
        if dcmtk("echoscu", "127.0.0.1", port, check=False).returncode == 0:
            break
        time.sleep(0.05)
    yield port, folder
    process.terminate()
    process.wait(10)


def test_move_goes_to_a_configured_destination_only(
    filled: Scp, pacs: rp.Pacs, dcmtk: Tool, receiver: tuple[int, Path], slices: list[Path]
) -> None:
    port, folder = receiver
    arguments = ("-v", "-S", "-aec", filled.aet, "-aem", "RECEIVER", "-k", "QueryRetrieveLevel=STUDY", "-k",
                 f"StudyInstanceUID={STUDY}", "127.0.0.1", filled.port)  # fmt: skip
    refused = dcmtk("movescu", *arguments, check=False)
    assert "movedestinationunknown" in (refused.stdout + refused.stderr).lower()
    assert not list(folder.iterdir())
    pacs.peers.add("receiver", aet="RECEIVER", host="127.0.0.1", port=port)
    dcmtk("movescu", *arguments)
    sent = {ds.SOPInstanceUID: ds for ds in map(dcmread, slices)}
    got = read_all(folder)
    assert len(got) == 6
    assert all(ds == sent[ds.SOPInstanceUID] for ds in got)


def test_move_to_a_destination_that_is_down_says_how_many_failed(filled: Scp, pacs: rp.Pacs, dcmtk: Tool) -> None:
    pacs.peers.add("down", aet="DOWN", host="127.0.0.1", port=free_port())
    done = dcmtk("movescu", "-d", "-S", "-aec", filled.aet, "-aem", "DOWN", "-k", "QueryRetrieveLevel=STUDY", "-k",
                 f"StudyInstanceUID={STUDY}", "127.0.0.1", filled.port, check=False)  # fmt: skip
    output = (done.stdout + done.stderr).lower()
    assert "0xa702" in output
    assert "6 failedsopinstanceuidlist" in output
    dcmtk("echoscu", "-aec", filled.aet, "127.0.0.1", filled.port)


# -- TLS ------------------------------------------------------------------------------------------------------------


def test_nothing_listens_beyond_this_machine_in_the_clear(pacs: rp.Pacs) -> None:
    with pytest.raises(rp.errors.AccessError, match="TLS"):
        start_scp(pacs, ScpOptions(host="0.0.0.0", port=0))


def test_a_port_that_is_taken_is_told(pacs: rp.Pacs, scp: Scp) -> None:
    with pytest.raises(rp.errors.UnsupportedError, match="port"):
        start_scp(pacs, ScpOptions(port=scp.port))
