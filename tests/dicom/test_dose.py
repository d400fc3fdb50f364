"""Dose reports: every number, with the irradiation it belongs to."""

from datetime import datetime

import pytest
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from researchpacs.dicom.dose import doses
from researchpacs.dicom.sr import measurement_rows


def code(value: str, scheme: str, meaning: str) -> Dataset:
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = value, scheme, meaning
    return ds


def item(kind: str, name: tuple[str, str], *below: Dataset, **values: object) -> Dataset:
    ds = Dataset()
    ds.ValueType, ds.RelationshipType = kind, "CONTAINS"
    ds.ConceptNameCodeSequence = [code(name[0], "DCM", name[1])]
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    if below:
        ds.ContentSequence = list(below)
    return ds


def number(name: tuple[str, str], value: str, unit: str) -> Dataset:
    measured = Dataset()
    measured.NumericValue, measured.MeasurementUnitsCodeSequence = value, [code(unit, "UCUM", unit)]
    return item("NUM", name, MeasuredValueSequence=[measured])


def acquisition(uid: str, protocol: str, ctdi: str, dlp: str) -> Dataset:
    """CT Irradiation Event Data (TID 10013)."""
    return item(
        "CONTAINER",
        ("113819", "CT Acquisition"),
        item("TEXT", ("125203", "Acquisition Protocol"), TextValue=protocol),
        item("CODE", ("123014", "Target Region"), ConceptCodeSequence=[code("816094009", "SCT", "Chest")]),
        item("CODE", ("113820", "CT Acquisition Type"), ConceptCodeSequence=[code("116152004", "SCT", "Spiral")]),
        item("UIDREF", ("113769", "Irradiation Event UID"), UID=uid),
        item(
            "CONTAINER",
            ("113829", "CT Dose"),
            number(("113830", "Mean CTDIvol"), ctdi, "mGy"),
            number(("113838", "DLP"), dlp, "mGy.cm"),
        ),
    )


@pytest.fixture
def report() -> Dataset:
    """An X-Ray Radiation Dose SR as a CT scanner writes it (TID 10011)."""
    ds = item(
        "CONTAINER",
        ("113701", "X-Ray Radiation Dose Report"),
        item(
            "CONTAINER",
            ("113811", "CT Accumulated Dose Data"),
            number(("113812", "Total Number of Irradiation Events"), "2", "{events}"),
            number(("113813", "CT Dose Length Product Total"), "350.5", "mGy.cm"),
        ),
        acquisition("1.2.1", "Chest low dose", "2.5", "100.5"),
        acquisition("1.2.2", "Chest", "7.1", "250"),
    )
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.67"
    ds.ContentDate, ds.ContentTime = "20240131", "101112"
    return ds


def test_every_number_is_there_with_its_event(report: Dataset) -> None:
    found = [(one.event_index, one.event_uid, one.quantity.meaning, one.value, one.unit) for one in doses(report)]
    assert found == [
        (None, None, "Total Number of Irradiation Events", 2.0, "{events}"),
        (None, None, "CT Dose Length Product Total", 350.5, "mGy.cm"),
        (0, "1.2.1", "Mean CTDIvol", 2.5, "mGy"),
        (0, "1.2.1", "DLP", 100.5, "mGy.cm"),
        (1, "1.2.2", "Mean CTDIvol", 7.1, "mGy"),
        (1, "1.2.2", "DLP", 250.0, "mGy.cm"),
    ]


def test_an_event_says_what_was_irradiated_and_how(report: Dataset) -> None:
    last = doses(report)[-1]
    assert (last.protocol, str(last.region), last.acquisition.meaning) == ("Chest", "SCT:816094009", "Spiral")
    assert (last.section.meaning, last.created_at) == ("CT Dose", datetime(2024, 1, 31, 10, 11, 12))


def test_a_projection_event_tells_when_it_began(report: Dataset) -> None:
    event = item(
        "CONTAINER",
        ("113706", "Irradiation Event X-Ray Data"),
        item("UIDREF", ("113769", "Irradiation Event UID"), UID="1.2.3"),
        item("DATETIME", ("111526", "DateTime Started"), DateTime="20240131090000+0100"),
        number(("122130", "Dose Area Product"), "0.0001", "Gy.m2"),
    )
    report.ContentSequence.append(event)
    last = doses(report)[-1]
    assert (last.event_index, last.value, last.started_at.isoformat()) == (2, 0.0001, "2024-01-31T09:00:00+01:00")


def test_a_dose_is_no_measurement_and_a_measurement_no_dose(report: Dataset) -> None:
    assert measurement_rows(report) == []
    report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.22"  # Enhanced SR, as older scanners write it
    assert measurement_rows(report) == []
    assert len(doses(report)) == 6
    report.ConceptNameCodeSequence = [code("126000", "DCM", "Imaging Measurement Report")]
    assert doses(report) == []
    assert len(measurement_rows(report)) == 6


def test_concepts_are_those_of_the_dictionary() -> None:
    for name, value in {
        "IrradiationEventXRayData": "113706", "CTAcquisition": "113819", "IrradiationEventUID": "113769",
        "AcquisitionProtocol": "125203", "TargetRegion": "123014", "CTAcquisitionType": "113820",
        "IrradiationEventType": "113721", "DatetimeStarted": "111526", "XRayRadiationDoseReport": "113701",
        "RadiopharmaceuticalRadiationDoseReport": "113500", "RadiopharmaceuticalAdministration": "113502",
        "RadiopharmaceuticalAdministrationEventUID": "113503", "RadiopharmaceuticalStartDatetime": "123003",
    }.items():  # fmt: skip
        assert getattr(codes.DCM, name).value == value
