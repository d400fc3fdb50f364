"""Fixtures every room's tests share."""

import os
from pathlib import Path

import pytest


def skip_or_fail(missing: str, how_to_get_it: str) -> None:
    """Skip on a person's machine, fail in CI: a part that is absent there would make a test that cannot fail."""
    message = f"{missing} is missing: {how_to_get_it}"
    if os.environ.get("CI"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real DICOM sets with reference answers."""
    folder = Path(os.environ.get("RESEARCHPACS_TEST_DATA") or Path(__file__).parent / "data")
    if not folder.is_dir():
        skip_or_fail("the real data", "set RESEARCHPACS_TEST_DATA to the folder that holds it")
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty place for an archive."""
    return tmp_path / "home"
