"""Fixtures every room's tests share."""

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# The same examples in every run of CI; a person's runs look further.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("person", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "person")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Fail in CI where a person's machine skips: a part that is absent there would make a test that cannot fail."""
    report = yield
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr[2]}"
    return report


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real DICOM sets with reference answers."""
    folder = Path(os.environ.get("RESEARCHPACS_TEST_DATA") or Path(__file__).parent / "data")
    if not folder.is_dir():
        pytest.skip("the real data is missing: set RESEARCHPACS_TEST_DATA to the folder that holds it")
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty place for an archive."""
    return tmp_path / "home"
