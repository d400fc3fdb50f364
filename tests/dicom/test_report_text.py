"""What reports say in words."""

from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from researchpacs.dicom import report_text
from researchpacs.dicom.report_text import report_of

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

REPORTS = (
    "misc_pydicom/test-SR.dcm",
    "misc_pydicom/reportsi.dcm",
    "highdicom_seg_sr_sm_ann/sr_document.dcm",
    "highdicom_seg_sr_sm_ann/sr_document_with_multiple_groups.dcm",
)


def texts(ds: Dataset) -> list[str]:
    found = []
    for item in ds.get("ContentSequence", ()):
        if item.get("ValueType") == "TEXT":
            found.append(str(item.TextValue).strip())
        if item.get("ValueType") == "CODE":
            found.append(str(item.ConceptCodeSequence[0].CodeMeaning).strip())
        if item.get("ValueType") == "NUM" and item.get("MeasuredValueSequence"):
            found.append(str(item.MeasuredValueSequence[0].NumericValue))
        found += texts(item)
    return found


@pytest.mark.parametrize("name", REPORTS)
def test_every_text_code_and_number_is_there_in_order(real_data: Path, name: str) -> None:
    ds = pydicom.dcmread(real_data / name)
    report = report_of(ds)
    assert report is not None
    assert report.title == str(ds.ConceptNameCodeSequence[0].CodeMeaning).strip()
    at = 0
    for text in texts(ds):
        at = report.text.index(text, at) + len(text)
    assert at
    assert report.completion == ds.get("CompletionFlag")


def test_an_encapsulated_document_is_described_and_not_opened() -> None:
    ds = Dataset()
    ds.SOPClassUID, ds.DocumentTitle = "1.2.840.10008.5.1.4.1.1.104.1", "Discharge letter"
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    report = report_of(ds)
    assert (report.kind, report.title, report.mime_type, report.text) == (
        "encapsulated", "Discharge letter", "application/pdf", None,
    )  # fmt: skip


def test_text_without_end_ends(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_text, "LONGEST", 40)
    report = report_of(pydicom.dcmread(real_data / REPORTS[0]))
    assert len(report.text) == 40


def test_an_image_is_no_report(real_data: Path) -> None:
    assert report_of(pydicom.dcmread(real_data / "misc_pydicom" / "CT_small.dcm")) is None
