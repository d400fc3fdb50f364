"""Functions of other packages are found by name, or it is said why not."""

from pathlib import Path

import pytest

from researchpacs.errors import InvalidInputError, NotFoundError
from researchpacs.plugins import load_route, names


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def _install(site: Path, package: str, point: str, code: str = "") -> None:
    """A package with an entry point, as pip leaves it."""
    about = site / f"{package}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[researchpacs.routes]\n{point}\n")
    (site / f"{package}.py").write_text(code)


def test_a_route_is_loaded_by_its_name(site: Path) -> None:
    _install(site, "routes_fine", "volume = routes_fine:volume", "def volume(pacs, series):\n    return series\n")
    assert names("researchpacs.routes") == ["volume"]
    assert load_route("volume")(None, 7) == 7


def test_what_nobody_offers_is_told_with_what_there_is(site: Path) -> None:
    _install(site, "routes_other", "other = routes_other:other")
    with pytest.raises(NotFoundError, match="there are: other"):
        load_route("volume")


def test_two_packages_that_offer_one_name_are_named(site: Path) -> None:
    _install(site, "routes_one", "volume = routes_one:volume")
    _install(site, "routes_two", "volume = routes_two:volume")
    with pytest.raises(InvalidInputError, match="routes_one, routes_two"):
        load_route("volume")


@pytest.mark.parametrize(
    ("package", "code", "why"),
    [
        ("routes_empty", "", "AttributeError"),
        ("routes_broken", "import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("routes_number", "volume = 1\n", "is no function"),
    ],
)
def test_what_cannot_be_loaded_is_told_with_the_reason(site: Path, package: str, code: str, why: str) -> None:
    _install(site, package, f"volume = {package}:volume", code)
    with pytest.raises(InvalidInputError, match=why):
        load_route("volume")
