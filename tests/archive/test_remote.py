"""`connect` to a real Orthanc, by its own API and by DICOMweb, gives what it gives over a local archive."""

import hashlib
import json
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import dask
import numpy as np
import pytest
from pydicom import Dataset, dcmread

import researchpacs as rp
from researchpacs.archive._dicomweb import DicomwebServer
from researchpacs.archive._remote_address import as_address
from researchpacs.errors import (
    AccessError,
    InvalidInputError,
    NotFoundError,
    RemoteError,
    ResearchPacsError,
    UnsupportedError,
)
from researchpacs.model import Identity
from researchpacs.testing import small_ct

from .conftest import SECRET, USER, Orthanc, free_port, start_orthanc, stop
from .counting_proxy import CountingProxy

pytestmark = pytest.mark.server

Connect = Callable[..., rp.Pacs]


@pytest.fixture(autouse=True)
def own_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESEARCHPACS_HOME", str(home))


@pytest.fixture(params=["orthanc", "dicomweb"])
def url(request: pytest.FixtureRequest, orthanc: Orthanc) -> str:
    return orthanc.url if request.param == "orthanc" else orthanc.dicomweb_url


@pytest.fixture
def proxy(orthanc: Orthanc) -> Iterator[CountingProxy]:
    proxy = CountingProxy(orthanc.port)
    yield proxy
    proxy.close()


def through(url: str, proxy: CountingProxy, orthanc: Orthanc) -> str:
    return url.replace(f":{orthanc.port}", f":{proxy.port}")


def file_of(ds: Dataset) -> bytes:
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def post(orthanc: Orthanc, *datasets: Dataset) -> int:
    """Store behind the client's back; the bytes stored."""
    files = [file_of(ds) for ds in datasets]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(orthanc.post, files))
    return sum(map(len, files))


def digest(vol) -> str:
    parts = (vol.values.tobytes(), str(vol.dtype), vol.shape, vol.dicom.affine_lps.tobytes())
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def numbers(pacs: rp.Pacs) -> list[int]:
    return [number for (number,) in pacs.sql("select InstanceNumber from instances order by all").fetchall()]


# -- the verbs --------------------------------------------------------------------------------------------------------


def test_every_verb_of_a_notebook(url: str):
    with rp.connect(url) as pacs:
        report = pacs.ingest([small_ct(number) for number in range(1, 6)])
        assert (report.stored, report.duplicates, report.refused) == (5, 0, 0)
        assert pacs.ingest(small_ct(1)).duplicates == 1
        (series,) = pacs.search("series", Modality="CT", PatientID="A*")
        assert series == pacs.series(series.uid)
        assert series.header().SeriesDescription == "small"
        assert pacs.sql("select tag_num(tags, 'KVP') from instances limit 1").fetchall() == [(120.0,)]
        vol = rp.open_volume(series)
        assert vol.shape == (5, 16, 16)
        expected = np.stack([small_ct(number).pixel_array.astype(np.int16) - 1024 for number in range(1, 6)])
        assert np.array_equal(vol.values, expected)
        assert np.array_equal(rp.read_volume(series).values, expected)
        assert pacs.view(vol, window="lung").screenshot().size[0] > 0
        length = rp.Measurement.length(vol, (0.0, 0.0, 2.0), (3.0, 0.0, 2.0), label="edge")
        assert pacs.ingest(length).stored == 1
        assert pacs.sql("select label, value from measurements").fetchall() == [("edge", pytest.approx(3.0))]
        assert [made.label for made in pacs.annotations(series)] == ["edge"]
        with pytest.raises(UnsupportedError):
            pacs.verify()


def test_the_same_volume_from_a_folder_from_orthanc_and_by_dicomweb(orthanc: Orthanc, tmp_path: Path):
    slices = [small_ct(number, size=32, ImageOrientationPatient=[1, 0, 0, 0, 0.8, 0.6]) for number in range(1, 8)]
    for number, ds in enumerate(slices):
        ds.ImagePositionPatient = ["-161.399994", str(round(-0.6 * 2.3 * number, 6)), str(round(0.8 * 2.3 * number, 6))]
    found = set()
    for where in (tmp_path / "folder", orthanc.url, orthanc.dicomweb_url):
        with rp.connect(where) as pacs:
            pacs.ingest(slices)
            (series,) = pacs.search("series")
            found |= {digest(rp.read_volume(series)), digest(rp.open_volume(series).compute())}
    assert len(found) == 1


def test_deleting_reaches_the_server_or_is_refused(orthanc: Orthanc):
    with rp.connect(orthanc.url) as pacs:
        pacs.ingest([small_ct(1), small_ct(2), small_ct(3, SeriesInstanceUID="1.2.3")])
        assert pacs.delete(pacs.series("1.2.3")) == 1
        assert numbers(pacs) == [1, 2]
        assert len(orthanc.get("instances")) == 2
    with rp.connect(orthanc.dicomweb_url) as pacs, pytest.raises(UnsupportedError, match="deleted"):
        pacs.delete(pacs.search("series").first())
    assert len(orthanc.get("instances")) == 2


def test_a_reference_is_refused_because_the_server_cannot_follow_it(url: str, tmp_path: Path):
    small_ct(1).save_as(tmp_path / "one.dcm", enforce_file_format=True)
    with rp.connect(url) as pacs:
        with pytest.raises(InvalidInputError, match="copy=False"):
            pacs.ingest(tmp_path / "one.dcm", copy=False)
        assert (tmp_path / "one.dcm").exists()


def test_a_filter_by_labels_never_returns_everything(url: str):
    with rp.connect(url) as pacs:
        pacs.ingest(small_ct(1))
        with pytest.raises(UnsupportedError, match="label"):
            len(pacs.search(labels="qc-ok"))
        with pytest.raises(UnsupportedError, match="label"):
            pacs.label(pacs.search("series").first(), "qc-ok")


def test_transfer_syntaxes_give_the_values_that_a_folder_gives(real_data: Path, orthanc: Orthanc, tmp_path: Path):
    files = sorted((real_data / "transfer_syntaxes_ct").glob("*.dcm"))
    for number, path in enumerate(files):
        ds = dcmread(path)
        ds.SeriesInstanceUID, ds.SOPInstanceUID = f"1.2.3.{number}", f"1.2.3.{number}.1"
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.save_as(tmp_path / path.name)
        orthanc.post((tmp_path / path.name).read_bytes())
    with rp.connect(tmp_path / "folder") as pacs:
        assert pacs.ingest(list(tmp_path.glob("*.dcm"))).stored == len(files) >= 15
        expected = values_by_series(pacs)
    for url in (orthanc.url, orthanc.dicomweb_url):
        with rp.connect(url) as pacs:
            found = values_by_series(pacs)
            assert found.keys() == expected.keys()
            for uid, values in found.items():
                assert np.array_equal(values, expected[uid]), files[int(uid.rpartition(".")[2])].name


def values_by_series(pacs: rp.Pacs) -> dict[str, np.ndarray]:
    return {one.uid: rp.read_volume(one, rescale=False).values for one in pacs.search("series")}


# -- how much moves ---------------------------------------------------------------------------------------------------


def test_a_slice_of_a_thousand_moves_less_than_half_a_percent(orthanc: Orthanc, proxy: CountingProxy):
    total = post(orthanc, *(small_ct(number, size=64) for number in range(1, 1001)))
    for url in (orthanc.url, orthanc.dicomweb_url):
        with rp.connect(through(url, proxy, orthanc)) as pacs:
            (series,) = pacs.search("series")
            assert series.instance_count == 1000
            proxy.reset()
            vol = rp.open_volume(series)
            plane = vol[500].values
            assert 64 * 64 * 2 < proxy.received < total * 0.005
            assert np.array_equal(plane, small_ct(501, size=64).pixel_array.astype(np.int16) - 1024)
            proxy.reset()
            assert np.array_equal(vol[500].values, plane)
            assert proxy.received == 0


def test_headers_are_read_without_most_of_the_pixels(orthanc: Orthanc, proxy: CountingProxy):
    total = post(orthanc, *(small_ct(number, size=512) for number in range(1, 21)))
    for url, share in ((orthanc.url, 0.25), (orthanc.dicomweb_url, 0.01)):
        proxy.reset()
        with rp.connect(through(url, proxy, orthanc)) as pacs:
            assert numbers(pacs) == list(range(1, 21))
        assert proxy.received < share * total


def test_the_connections_of_a_volume_are_few(url: str, orthanc: Orthanc, proxy: CountingProxy):
    post(orthanc, *(small_ct(number) for number in range(1, 101)))
    with rp.connect(through(url, proxy, orthanc)) as pacs:
        (series,) = pacs.search("series")
        proxy.reset()
        with dask.config.set(scheduler="threads", num_workers=32):
            rp.open_volume(series).values  # noqa: B018 - computed
        assert proxy.connections <= 8


# -- following --------------------------------------------------------------------------------------------------------


def test_what_others_store_and_delete_is_seen(url: str, orthanc: Orthanc):
    with rp.connect(url) as pacs:
        post(orthanc, small_ct(1), small_ct(2), small_ct(3))
        pacs.sync()
        assert numbers(pacs) == [1, 2, 3]
        (two,) = pacs.search("instance", InstanceNumber=2)
        (named,) = [one for one in orthanc.get("instances") if two.uid in str(orthanc.get(f"instances/{one}"))]
        orthanc.delete(f"instances/{named}")
        post(orthanc, small_ct(4))  # the number of instances stays the same
        pacs.sync()
        assert numbers(pacs) == [1, 3, 4]


def test_orthanc_is_followed_without_being_told_to(orthanc: Orthanc):
    with rp.connect(orthanc.url) as pacs:
        assert numbers(pacs) == []
        post(orthanc, small_ct(1), small_ct(2))
        assert numbers(pacs) == [1, 2]
        orthanc.clear()
        assert numbers(pacs) == []


def test_what_was_modified_in_place_is_read_again(url: str, orthanc: Orthanc):
    with rp.connect(url) as pacs:
        post(orthanc, small_ct(1), small_ct(2))
        assert numbers(pacs) == [1, 2]
        old = rp.read_volume(pacs.search("series").first()).values
        orthanc.clear()
        post(orthanc, small_ct(1, seed=9, KVP="80"), small_ct(2, seed=9, KVP="80"))
        pacs.sync()
        assert pacs.sql("select distinct tag(tags, 'KVP') from instances").fetchall() == [("80.0",)]
        new = rp.read_volume(pacs.search("series").first()).values
        assert not np.array_equal(old, new)
        assert np.array_equal(new[0], small_ct(1, seed=9).pixel_array.astype(np.int16) - 1024)


def test_another_database_at_the_same_address_is_noticed(tmp_path: Path):
    port = free_port()
    url = f"orthanc+http://{USER}:{SECRET}@127.0.0.1:{port}/"
    first = start_orthanc(tmp_path / "first", port)
    try:
        with rp.connect(url) as pacs:
            pacs.ingest([small_ct(number) for number in range(1, 6)])
            assert numbers(pacs) == [1, 2, 3, 4, 5]
            stop(first)
            first = start_orthanc(tmp_path / "second", port)
            pacs.ingest([small_ct(6), small_ct(7)])
            assert numbers(pacs) == [6, 7]
    finally:
        stop(first)


def test_a_killed_sync_goes_on_where_it_was(orthanc: Orthanc, home: Path, monkeypatch: pytest.MonkeyPatch):
    post(orthanc, *(small_ct(number) for number in range(1, 61)))
    script = """
        import os, signal, sys
        import researchpacs as rp
        from researchpacs.archive._orthanc import OrthancServer
        from researchpacs.archive._remote_seen import SeenLedger

        OrthancServer.batch = 20
        put, done = SeenLedger.put, []

        def put_and_die(self, found, refused, cursor):
            put(self, found, refused, cursor)
            done.extend(found)
            if len(done) >= 40:
                os.kill(os.getpid(), signal.SIGKILL)

        SeenLedger.put = put_and_die
        rp.connect(sys.argv[1]).sql("select 1")
    """
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), orthanc.url], capture_output=True, timeout=120, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]

    from researchpacs.archive._orthanc import OrthancServer

    fetched: list[str] = []
    original = OrthancServer._fetched
    monkeypatch.setattr(OrthancServer, "_fetched", lambda self, name: (fetched.append(name), original(self, name))[1])
    with rp.connect(orthanc.url) as pacs:
        assert numbers(pacs) == list(range(1, 61))
        assert pacs.sql("select count(*) from instances").fetchall() == [(60,)]
    # 20 that were never seen; the headers of the others are fetched once more for the catalog, that had not begun.
    assert len(fetched) == 60


def test_one_instance_that_cannot_be_read_does_not_stop_the_others(orthanc: Orthanc):
    with warnings.catch_warnings(action="ignore"):
        post(orthanc, small_ct(1), small_ct(2, SOPInstanceUID="1." + "2" * 66))
    with rp.connect(orthanc.url) as pacs:
        assert numbers(pacs) == [1]
        (reason,) = pacs.archive.refused().values()
        assert "SOPInstanceUID" in reason


# -- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_server_that_goes_away_is_one_error_that_names_series_and_frame(
    url: str, orthanc: Orthanc, proxy: CountingProxy
):
    post(orthanc, *(small_ct(number, size=256) for number in range(1, 21)))
    with rp.connect(through(url, proxy, orthanc)) as pacs:
        (series,) = pacs.search("series")
        vol = rp.open_volume(series)
        proxy.break_after(5 * 256 * 256)
        with pytest.raises(RemoteError, match=rf"frame 0 of instance .* in series {series.uid}"):
            rp.read_volume(series)
        with pytest.raises(RemoteError, match=rf"frame 0 of instance .* in series {series.uid}"):
            vol.compute()
        proxy.break_after(None)
        assert vol.compute().shape == (20, 256, 256)


def test_no_server_is_a_remote_error(home: Path):
    for kind in ("orthanc", "dicomweb"):
        with pytest.raises(RemoteError, match=r"127\.0\.0\.1"):
            rp.connect(f"{kind}+http://127.0.0.1:{free_port()}/")


def test_what_is_no_such_server_is_unsupported(orthanc: Orthanc):
    for wrong in (f"orthanc+{orthanc.root}/dicom-web/", f"dicomweb+{orthanc.root}/"):
        with pytest.raises(ResearchPacsError) as caught:
            rp.connect(wrong.replace("//", f"//{USER}:{SECRET}@", 1))
        assert isinstance(caught.value, UnsupportedError | NotFoundError)


def test_a_silent_server_is_given_up(monkeypatch: pytest.MonkeyPatch):
    import socket

    from researchpacs.archive import _remote_http

    monkeypatch.setattr(_remote_http, "TIMEOUT_S", (0.2, 0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for kind in ("orthanc", "dicomweb"):
            with pytest.raises(RemoteError):
                rp.connect(f"{kind}+http://127.0.0.1:{silent.getsockname()[1]}/")


def test_answers_of_another_shape_are_remote_errors():
    """A server that says it is an Orthanc, and then talks nonsense."""
    answers = {"/system": {"ApiVersion": 1}, "/changes?last": {"Last": 3}, "/changes?since=3&limit=1000": []}

    class Nonsense(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answers.get(self.path, "nonsense")).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Nonsense) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with rp.connect(f"orthanc+http://127.0.0.1:{server.server_port}/") as pacs, pytest.raises(RemoteError):
                pacs.sql("select 1")
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("sequence", ["00081198", "0008119A"])
def test_what_a_dicomweb_server_lists_among_failures_is_not_stored(sequence: str, tmp_path: Path):
    """Also where its status says that the request was understood (PS3.18 10.5.3)."""
    reason = {"00081197": {"vr": "US", "Value": [0xC000]}}
    answers = [{sequence: {"vr": "SQ", "Value": [reason]}}, {sequence: {"vr": "SQ"}}]

    class Storing(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
            body = json.dumps(answers.pop(0)).encode()
            self.send_response(202)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    ds = small_ct()
    ds.save_as(tmp_path / "one.dcm", enforce_file_format=True)
    identity = Identity("A", "", ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
    with ThreadingHTTPServer(("127.0.0.1", 0), Storing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        client = DicomwebServer(as_address(f"dicomweb+http://127.0.0.1:{server.server_port}/"))
        try:
            assert "49152" in client.send(tmp_path / "one.dcm", identity).refusal
            assert client.send(tmp_path / "one.dcm", identity).refusal == ""
        finally:
            client.close()
            server.shutdown()
            thread.join()


# -- secrets ----------------------------------------------------------------------------------------------------------


def test_a_wrong_password_is_refused_without_being_repeated(url: str, home: Path):
    wrong = SECRET[::-1]
    with pytest.raises(AccessError) as caught:
        rp.connect(url.replace(SECRET, wrong))
    assert wrong not in "".join(traceback.format_exception(caught.value))


def test_no_secret_is_shown_pickled_or_written(
    url: str, home: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
):
    caplog.set_level("DEBUG")
    with rp.connect(url) as pacs:
        pacs.ingest([small_ct(1), small_ct(2)])
        (series,) = pacs.search("series")
        vol = rp.open_volume(series)
        graph = pickle.dumps(dict(vol.data.dask))
        shown = f"{pacs!r} {series!r} {series.locate([small_ct(1).SOPInstanceUID])!r} {vol!r} {pacs.archive!r}"
        vol.compute()
    for secret in (SECRET, f"{USER}:{SECRET}"):
        assert secret.encode() not in graph
        assert secret not in shown
        assert secret not in caplog.text
    written = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert SECRET.encode() not in written
    assert capsys.readouterr() == ("", "")


def test_another_process_reads_frames_once_it_has_the_credentials(url: str, tmp_path: Path):
    with rp.connect(url) as pacs:
        pacs.ingest([small_ct(1), small_ct(2)])
        vol = rp.open_volume(pacs.search("series").first())
        (tmp_path / "graph").write_bytes(pickle.dumps(vol.data))
        expected = vol.values.sum()
    script = """
        import pickle, sys
        import researchpacs as rp
        from researchpacs.errors import AccessError

        data = pickle.loads(open(sys.argv[1], "rb").read())
        try:
            data.compute()
        except AccessError:
            rp.connect(sys.argv[2]).close()
            print(data.sum().compute())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "graph"), url],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert int(done.stdout) == expected


def test_the_home_of_a_remote_is_named_without_its_credentials(orthanc: Orthanc, home: Path):
    with rp.connect(orthanc.url) as pacs:
        first = pacs.home
    with rp.connect(orthanc.url.rstrip("/")) as pacs:
        assert pacs.home == first
    expected = hashlib.sha256(f"orthanc+http://127.0.0.1:{orthanc.port}/".encode()).hexdigest()[:16]
    assert first == home / "remotes" / expected


def test_a_malformed_url_is_refused_without_being_quoted(home: Path):
    for wrong in (
        "orthanc+http://",
        "ftp://u:hidden@host/",
        "orthanc+http://u:hidden@host:port/",
        "dicomweb+http://h/?a=b",
    ):
        with pytest.raises(InvalidInputError) as caught:
            rp.connect(wrong)
        assert "hidden" not in str(caught.value)


def test_a_stored_file_comes_back_bit_for_bit(url: str, orthanc: Orthanc):
    ds = small_ct(1)
    content = file_of(ds)
    orthanc.post(content)
    with rp.connect(url) as pacs:
        assert numbers(pacs) == [1]
        assert pacs.archive.read(ds.SOPInstanceUID) == content
        assert dcmread(BytesIO(pacs.archive.header(ds.SOPInstanceUID))).SOPInstanceUID == ds.SOPInstanceUID
