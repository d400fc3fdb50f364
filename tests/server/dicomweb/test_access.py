"""Who may ask DICOMweb: what the application's access says, and web pages of the origins it was told."""

from pathlib import Path

import httpx

import researchpacs as rp
from researchpacs.server.app import create_app
from researchpacs.server.auth import Access

STUDIES = "http://host/dicom-web/studies"


async def ask(
    pacs: rp.Pacs, method: str, *, access: Access, origins: tuple[str, ...] = (), **headers: str
) -> httpx.Response:
    app = create_app(pacs, access=access, origins=origins)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        return await client.request(
            method, STUDIES, headers={name.replace("_", "-"): one for name, one in headers.items()}
        )


def test_nothing_is_told_without_the_token(home: Path) -> None:
    import anyio

    async def tried() -> list[int]:
        access = Access(token="a-token")
        with rp.connect(home) as pacs:
            answers = [
                await ask(pacs, "GET", access=access),
                await ask(pacs, "POST", access=access),
                await ask(pacs, "GET", access=access, Authorization="Bearer wrong"),
                await ask(pacs, "GET", access=access, Authorization="Bearer a-token"),
            ]
        return [answer.status_code for answer in answers]

    assert anyio.run(tried) == [401, 401, 401, 200]


def test_pages_of_other_origins_ask_only_where_they_are_named(home: Path) -> None:
    import anyio

    async def tried() -> list[str | None]:
        viewer = "https://viewer.example.org"
        with rp.connect(home) as pacs:
            answers = [
                await ask(pacs, "GET", access=Access(), Origin=viewer),
                await ask(pacs, "GET", access=Access(), origins=(viewer,), Origin=viewer),
                await ask(pacs, "GET", access=Access(), origins=(viewer,), Origin="https://elsewhere.example.org"),
                # A browser asks whether it may ask before it has shown who it is.
                await ask(
                    pacs, "OPTIONS", access=Access(token="a-token"), origins=(viewer,), Origin=viewer,
                    Access_Control_Request_Method="GET", Access_Control_Request_Headers="Authorization",
                ),
            ]  # fmt: skip
        return [answer.headers.get("access-control-allow-origin") for answer in answers]

    assert anyio.run(tried) == [None, "https://viewer.example.org", None, "https://viewer.example.org"]
