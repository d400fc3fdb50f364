"""Accept fields as clients write them."""

import pytest
from starlette.requests import Request

from researchpacs.server.dicomweb._answers import RequestError
from researchpacs.server.dicomweb._media import Wanted, first_taken, wanted_by


def accept(*fields: str, query: str = "") -> list[Wanted]:
    headers = [(b"accept", field.encode()) for field in fields]
    return wanted_by(Request({"type": "http", "headers": headers, "query_string": query.encode()}))


def test_a_multipart_range_is_what_its_parts_are() -> None:
    (one,) = accept('multipart/related; type="application/dicom"; transfer-syntax=*')
    assert one == Wanted("application/dicom", True, "*", 1.0)


def test_quotes_may_be_missing_as_in_many_clients() -> None:
    (one,) = accept("multipart/related;type=image/jls;transfer-syntax=1.2.840.10008.1.2.4.80")
    assert (one.type, one.transfer_syntax) == ("image/jls", "1.2.840.10008.1.2.4.80")


def test_the_best_quality_comes_first_and_none_is_not_wanted() -> None:
    wanted = accept("image/png;q=0.2, image/jpeg", "image/gif;q=0")
    assert [one.type for one in wanted] == ["image/jpeg", "image/png"]


def test_nothing_said_is_anything() -> None:
    assert accept() == [Wanted("*/*", None, None, 1.0)]


def test_the_query_goes_before_the_field() -> None:
    assert accept("image/png", query="accept=image/jpeg")[0].type == "image/jpeg"


def test_wildcards_take_what_they_cover() -> None:
    assert first_taken(accept("image/*"), ("image/jpeg", "image/png")) == "image/jpeg"
    assert first_taken(accept("text/html, */*;q=0.1"), ("image/png",)) == "image/png"


def test_nothing_of_ours_is_406() -> None:
    with pytest.raises(RequestError) as error:
        first_taken(accept("text/html"), ("image/png",))
    assert error.value.status == 406


@pytest.mark.parametrize("field", ["nonsense", "a/b c/d", "image/png;q=much", 'multipart/related; type="', "a" * 9000])
def test_what_is_no_media_range_is_400(field: str) -> None:
    with pytest.raises(RequestError) as error:
        accept(field)
    assert error.value.status == 400
