"""Which origins can be named, and what the answer to a browser's first question says."""

from pathlib import Path

import httpx
import pytest

import researchpacs as rp
from researchpacs.archive.question import Question
from researchpacs.errors import InvalidInputError
from researchpacs.server.app import create_app
from researchpacs.server.auth import Access
from researchpacs.server.cross_origin import as_origin
from researchpacs.testing import small_ct

from .conftest import Served

VIEWER = "https://viewer.example.org"


def test_an_origin_is_written_as_browsers_write_it() -> None:
    for text, origin in (
        (VIEWER, VIEWER),
        (f"{VIEWER}/", VIEWER),
        ("HTTPS://Viewer.Example.org:443", VIEWER),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:80", "http://[::1]"),
    ):
        assert as_origin(text) == origin


@pytest.mark.parametrize(
    "text",
    ["*", "https://*", "https://*.example.org", "null", "", "viewer.example.org", "ftp://host", f"{VIEWER}/viewer",
     f"{VIEWER}?x", "https://ada:secret@host", "https://host:port", "https://[::1"],
)  # fmt: skip
def test_what_is_no_single_origin_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="is no origin"):
        as_origin(text)


@pytest.mark.server
def test_the_first_question_is_answered_without_a_password_and_for_the_door_alone(served: Served, home: Path) -> None:
    access = Access(token="a-token")
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    with rp.connect(home) as pacs, served(create_app(pacs, access=access, origins=(VIEWER,))) as url:
        studies, system = f"{url}/dicom-web/studies", f"{url}/system"
        allowed = httpx.options(studies, headers={**asks, "Origin": VIEWER})
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == VIEWER
        assert "POST" in allowed.headers["access-control-allow-methods"]
        assert "authorization" in allowed.headers["access-control-allow-headers"].lower()
        assert "access-control-allow-credentials" not in allowed.headers
        assert "Origin" in allowed.headers["vary"]
        for refused in (
            httpx.options(studies, headers={**asks, "Origin": "https://elsewhere.example.org"}),
            httpx.options(studies, headers={**asks, "Origin": "null"}),
            httpx.options(system, headers={**asks, "Origin": VIEWER}),
            httpx.options(f"{url}/dicom-web/servers/x/get", headers={**asks, "Origin": VIEWER}),
            httpx.get(system, headers={"Origin": VIEWER, "Authorization": "Bearer a-token"}),
        ):
            assert "access-control-allow-origin" not in refused.headers


@pytest.mark.server
def test_a_page_of_a_named_origin_changes_nothing_behind_another_door(served: Served, home: Path) -> None:
    """Such a request is sent without a first question, with the password that the browser keeps."""
    page = {"Origin": VIEWER, "Sec-Fetch-Site": "cross-site", "Content-Type": "text/plain"}
    with rp.connect(home) as pacs:
        pacs.ingest(small_ct(0))
        (name,) = pacs.archive.resources.names(Question("instance"))
        with served(create_app(pacs, access=Access(token="a-token"), origins=(VIEWER,))) as url:
            with httpx.Client(base_url=url, auth=("anybody", "a-token"), headers=page) as browser:
                sent = browser.post("/tools/bulk-delete", content=f'{{"Resources": ["{name}"]}}')
                asked = browser.post("/dicom-web/servers/x/stow", content=f'"{name}"')
                stored = browser.post("/dicom-web/studies", content="nothing")
            assert (sent.status_code, asked.status_code) == (403, 403)
            assert stored.status_code == 415
        assert pacs.archive.resources.names(Question("instance")) == [name]
