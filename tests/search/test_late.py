"""Tags of hits are read when they are first asked for: of one hit, then of all that were fetched with it."""

from typing import Any

from researchpacs.search import Search


class Asked:
    """A catalog that remembers what it was asked."""

    has_labels = True

    def __init__(self, catalog: Any) -> None:
        self._catalog = catalog
        self.row_place = catalog.row_place
        self.queries: list[str] = []

    def sql(self, query: str, /, **params: object) -> Any:
        self.queries.append(query)
        return self._catalog.sql(query, **params)


def test_tags_come_with_two_questions_for_all_hits(catalog):
    asked = Asked(catalog)
    hits = Search(
        asked, "series", {}, order="SeriesNumber", limit=100,  # type: ignore[arg-type]
        as_handle=lambda _, row: row, as_late_handle=lambda _, row, later: (row, later),
    )  # fmt: skip
    found = list(hits)
    assert len(found) == 5
    assert len(asked.queries) == 1
    assert not any("tags" in row for row, _ in found)

    whole = [later() for _, later in found]

    assert len(asked.queries) == 3
    expected = catalog.sql("select * from series order by SeriesNumber")
    assert [tuple(row[name] for name in expected.columns) for row in whole] == expected.fetchall()


def test_a_limit_finds_the_same_whatever_decides_elsewhere(catalog):
    for filters, text in (({"PatientName": "A*"}, None), ({}, "c"), ({"SOPClassUID": "*"}, "contrast")):
        every = Search(catalog, "series", filters, text=text, order="SeriesNumber", as_handle=lambda _, row: row)
        all_of_them = [row["SeriesNumber"] for row in every]
        assert all_of_them
        for limit in (1, 2, 5):
            some = Search(
                catalog, "series", filters, text=text, order="SeriesNumber", limit=limit, as_handle=lambda _, row: row
            )
            assert [row["SeriesNumber"] for row in some] == all_of_them[:limit]
            assert some.df()["SeriesNumber"].tolist() == all_of_them[:limit]
