"""Write src/researchpacs/search/_filters.py: the keywords that `search` takes, so that editors complete and check them.

python .ci/write_filters.py      after an update of pydicom's data dictionary or a change of the catalog's tables
"""

from pathlib import Path

from pydicom.datadict import DicomDictionary

from researchpacs.catalog import column_types

LEVELS = ("patients", "studies", "series", "instances")
NAMED = ("text", "labels", "where", "order", "limit")
HEAD = '''"""The keywords that `search` takes, for editors and type checkers; written by .ci/write_filters.py."""

from collections.abc import Sequence
from typing import Any, TypedDict

__all__ = ["Filters"]


class Options(TypedDict, total=False):
    """What a search takes beside keywords."""

    text: str | None
    labels: str | Sequence[str] | None
    where: str | None
    order: str | Sequence[str] | None
    limit: int | None


class Filters(Options, total=False):
    """DICOM keywords (PS3.6), and the catalog's own columns."""

'''


def text() -> str:
    """The whole module."""
    keywords = {entry[4] for entry in DicomDictionary.values() if entry[4].isidentifier()}
    own = {name for table in LEVELS for name in column_types(table) if not name.endswith("_parts")}
    return HEAD + "".join(f"    {name}: Any\n" for name in sorted((keywords | own) - {"tags", *NAMED}))


if __name__ == "__main__":
    page = Path(__file__).parents[1] / "src" / "researchpacs" / "search" / "_filters.py"
    page.write_text(text(), encoding="utf-8")
