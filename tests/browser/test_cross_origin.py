"""A web page of another origin in Chromium: it reads and stores by DICOMweb where it is named, and nowhere else."""

import contextlib
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser

import researchpacs as rp
from researchpacs.testing import small_ct

pytestmark = [pytest.mark.browser, pytest.mark.server]

ASK = """async ([url, options]) => {
    try {
        const answer = await fetch(url, options);
        return [answer.status, (await answer.text()).length, answer.headers.get("content-location")];
    } catch (error) {
        return error.name;
    }
}"""
REFUSED = "TypeError"
"""What a browser gives a script that may not know an answer."""
FRAME = 'multipart/related; type="application/octet-stream"'
STORE = 'multipart/related; type="application/dicom"; boundary=b'


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>a page of another origin</title>")

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Asked:
    """The server, its token, and the origins of a page that is named and of one that is not."""

    url: str
    token: str
    named: str
    unknown: str


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    home = tmp_path_factory.mktemp("origins") / "home"
    with rp.connect(home) as pacs:
        pacs.ingest(small_ct())
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as pages:
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        named, unknown = (f"http://{host}:{pages.server_port}" for host in ("127.0.0.1", "localhost"))
        command = [sys.executable, "-m", "researchpacs", "--home", str(home), "serve", "--port", "0"]
        with subprocess.Popen([*command, "--cors-origin", named], stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                url = process.stdout.readline().split(" at ")[1].strip()
                yield Asked(url, process.stdout.readline().split()[1], named, unknown)
            finally:
                process.terminate()
                pages.shutdown()


def test_a_named_page_reads_and_stores_and_no_other_does(asked: Asked, chromium: Browser) -> None:
    ds = small_ct()
    instance = f"studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"
    login = {"Authorization": f"Bearer {asked.token}"}
    questions = {
        "search": ("dicom-web/studies", {"headers": {**login, "Accept": "application/dicom+json"}}, 200),
        "frame": (f"dicom-web/{instance}/frames/1", {"headers": {**login, "Accept": FRAME}}, 200),
        "store": (
            "dicom-web/studies",
            {"method": "POST", "headers": {**login, "Content-Type": STORE}, "body": "--b--"},
            400,
        ),
        "delete": ("dicom-web/studies/1.2.3", {"method": "DELETE", "headers": login}, 404),
        "without a token": ("dicom-web/studies", {}, 401),
    }
    page = chromium.new_page()
    page.goto(asked.named)
    for name, (path, options, status) in questions.items():
        assert page.evaluate(ASK, [asked.url + path, options])[0] == status, name
    # What is no DICOMweb is for no page.
    assert page.evaluate(ASK, [f"{asked.url}system", {"headers": login}]) == REFUSED
    page.goto(asked.unknown)
    for name, (path, options, _) in questions.items():
        assert page.evaluate(ASK, [asked.url + path, options]) == REFUSED, name
    page.close()


def test_a_password_that_the_browser_keeps_helps_no_page(asked: Asked, chromium: Browser) -> None:
    with contextlib.closing(chromium.new_context(http_credentials={"username": "x", "password": asked.token})) as kept:
        page = kept.new_page()
        assert page.goto(f"{asked.url}dicom-web/studies").status == 200
        for origin in (asked.named, asked.unknown):
            page.goto(origin)
            assert page.evaluate(ASK, [f"{asked.url}dicom-web/studies", {"credentials": "include"}]) == REFUSED
