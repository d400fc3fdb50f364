"""Tables that are there to find others by: texts of series, and where the rows of series stand."""

from researchpacs.catalog._columns import OF_SERIES, Table, own

__all__ = ["TEXT_KEY", "keys_table", "texts_table"]

TEXT_KEY = ("text_key", "BIGINT", "Its row in search_texts; NULL where nothing describes it.")


def texts_table() -> Table:
    """One row per text."""
    return Table(
        "search_texts",
        "What text= finds: one row per different text of series, in small letters.",
        own(
            ("text_key", "BIGINT", "The text: the first 64 bits of its BLAKE2b hash."),
            ("search_text", "VARCHAR", "Descriptions, codes and what reports say, each piece on a line."),
        ),
        ("text_key",),
    )


def keys_table() -> Table:
    """One row per series."""
    return Table(
        "series_keys",
        "Which series each patient has: what the catalog finds the rows of others by when it changes them.",
        own(
            *OF_SERIES,
            ("StudyDate", "DATE", "As in series, which is sorted by it."),
            ("Modality", "VARCHAR", "As in series, which is sorted by it."),
            ("BodyPartExamined", "VARCHAR", "As in series, which is sorted by it."),
            TEXT_KEY,
        ),
        ("patient_key", "StudyInstanceUID", "SeriesInstanceUID"),
    )
