"""The DICOM node as `researchpacs serve` runs it: its own certificate, callers' certificates, its worklist."""

import re
import subprocess
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from researchpacs.errors import InvalidInputError
from researchpacs.server.node import Node

from ..conftest import Started
from .conftest import Tool, read_all

pytestmark = pytest.mark.server


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """An authority, and a certificate that it signed."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=tmp_path, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=ca", "-keyout", "ca.key",
            "-out", "ca.pem")  # fmt: skip
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=node", "-keyout", "node.key", "-out", "node.csr")
    openssl("x509", "-req", "-in", "node.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-out", "node.pem")  # fmt: skip
    return tmp_path


def test_callers_show_a_certificate_and_get_their_worklist(
    started: Started, home: Path, certificates: Path, dcmtk: Tool, tmp_path: Path
) -> None:
    worklist = tmp_path / "worklist"
    worklist.mkdir()
    item = Dataset()
    item.PatientName, item.PatientID, item.ScheduledProcedureStepSequence = "Planned^Ada", "P1", [Dataset()]
    item.ScheduledProcedureStepSequence[0].Modality = "CT"
    item.ScheduledProcedureStepSequence[0].ScheduledStationAETitle = "CT1"
    item.file_meta = FileMetaDataset()
    item.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    item.save_as(worklist / "a.wl")
    ours = certificates / "node.pem", certificates / "node.key", certificates / "ca.pem"
    options = ("--dimse-tls-cert", ours[0], "--dimse-tls-key", ours[1], "--dimse-tls-ca", ours[2])
    with started(home, "--dimse-port", "0", "--aet", "NODE", "--worklist", worklist, *options) as lines:
        told = re.fullmatch(r"DICOM node: NODE at 127\.0\.0\.1, port (\d+), TLS", lines[2])
        assert told is not None
        where = ("-aec", "NODE", "127.0.0.1", told.group(1))
        secured = ("+tls", ours[1], ours[0], "+cf", ours[2])
        dcmtk("echoscu", *secured, *where)
        assert dcmtk("echoscu", "+tla", "+cf", ours[2], *where, check=False).returncode
        assert dcmtk("echoscu", *where, check=False).returncode
        keys = ("-k", "PatientName", "-k", "ScheduledProcedureStepSequence[0].Modality=CT")
        (tmp_path / "answers").mkdir()
        dcmtk("findscu", "-W", *secured, "-X", "-od", tmp_path / "answers", *keys, *where)
        assert [str(found.PatientName) for found in read_all(tmp_path / "answers")] == ["Planned^Ada"]


def test_callers_cannot_show_a_certificate_without_tls(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="--dimse-tls-cert"):
        Node(port=0, authority=tmp_path / "ca.pem").tls()
