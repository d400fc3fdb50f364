"""The conformance statement says what the code does."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("conformance_tables", DOCS / "_conformance.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_table_is_as_the_code_has_it(tables: ModuleType) -> None:
    page = (DOCS / "conformance.md").read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- table: (\w+) -->", page)) == set(tables.TABLES)
    assert tables.filled(page) == page, "python docs/_conformance.py writes the tables anew"


def test_what_is_said_not_to_be_offered_is_not(tables: ModuleType) -> None:
    page = (DOCS / "conformance.md").read_text(encoding="utf-8")
    missing = page.partition("Not offered")[2].partition("###")[0]
    paths = re.findall(r"`(/[^`*]+)`", missing)
    assert len(paths) >= 10
    assert set(paths).isdisjoint(tables.route_paths())


def test_every_page_of_the_documentation_is_in_its_index() -> None:
    listed = set((DOCS / "index.md").read_text(encoding="utf-8").split())
    pages = {path.stem for path in DOCS.glob("*.md")} - {"index"}
    assert pages <= listed
    assert [path for path in DOCS.glob("*.md") if "orphan: true" in path.read_text(encoding="utf-8")] == []
