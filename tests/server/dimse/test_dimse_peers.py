"""As an SCU: send to, find at and retrieve from dcmtk's nodes, a real Orthanc and our own SCP."""

import asyncio
import contextlib
import json
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from tests.server.conftest import wait_until
from tests.server.dimse.conftest import OTHER, Tool, dataset_bytes, free_port, read_all

import researchpacs as rp
from researchpacs.archive._peers import Peer, Tls
from researchpacs.server.dimse import Scp, ScpOptions, ServerTls, start_scp
from researchpacs.testing._instances import small_ct

pytestmark = pytest.mark.server

# Every kind of encoding: implicit, big endian, deflated, RLE, JPEG baseline, JPEG 2000, JPEG-LS, and no image.
ENCODINGS = [
    "MR_small_implicit.dcm",
    "MR_small_bigendian.dcm",
    "image_dfl.dcm",
    "MR_small_RLE.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "test-SR.dcm",
]


@pytest.fixture
def filled(pacs: rp.Pacs) -> rp.Pacs:
    pacs.ingest([*(small_ct(number) for number in range(1, 7)), *(small_ct(n, **OTHER) for n in range(7, 10))])
    return pacs


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Peer]:
    """A real Orthanc that knows us, with an empty database."""
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if program is None:
        pytest.skip("Orthanc is missing: apt-get install orthanc")
    http, dicom, folder = free_port(), free_port(), tmp_path / "orthanc"
    folder.mkdir()
    settings = {
        "Name": "peer", "StorageDirectory": str(folder), "IndexDirectory": str(folder), "HttpPort": http,
        "DicomPort": dicom, "DicomAet": "ORTHANC", "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
        "DicomAlwaysAllowEcho": True, "DicomAlwaysAllowStore": True, "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True, "DicomAlwaysAllowMove": True, "DicomServerEnabled": True,
        "DicomModalities": {}, "Plugins": [], "StableAge": 1,
    }  # fmt: skip
    config = folder / "orthanc.json"
    config.write_text(json.dumps(settings))
    process = subprocess.Popen([program, str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peer = Peer("orthanc", "ORTHANC", "127.0.0.1", dicom)
    try:
        _wait_for(peer)
        yield peer
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def encodings(tmp_path: Path) -> list[Path]:
    """One instance in each encoding; some of the originals share a UID."""
    found = []
    for number, name in enumerate(ENCODINGS):
        ds = dcmread(str(get_testdata_file(name)))
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        found.append(tmp_path / name)
        ds.save_as(found[-1])
    return found


def _wait_for(peer: Peer) -> None:
    for _ in range(200):
        try:
            peer.echo()
        except rp.errors.RemoteError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"{peer.name} did not start")


def _same_as_peer(pacs: rp.Pacs, peer: Peer) -> Peer:
    return pacs.peers.add(peer.name, aet=peer.aet, host=peer.host, port=peer.port, tls=peer.tls or False)


# -- peers ----------------------------------------------------------------------------------------------------------


def test_peers_are_kept_and_can_be_changed_and_removed(home: Path) -> None:
    with rp.connect(home) as pacs:
        tls = Tls(authority="/etc/ca.pem", check_host=False)
        pacs.peers.add("scanner", aet="CT1", host="ct.example", port=11112, tls=tls, allow=["echo", "store"])
    with rp.connect(home) as pacs:
        assert list(pacs.peers) == ["scanner"]
        scanner = pacs.peers["scanner"]
        assert (scanner.aet, scanner.port, scanner.allow) == ("CT1", 11112, {"echo", "store"})
        assert scanner.tls == tls
        pacs.peers.add("scanner", aet="CT2", host="ct.example")
        assert (pacs.peers["scanner"].aet, pacs.peers["scanner"].port, len(pacs.peers)) == ("CT2", 104, 1)
        pacs.peers.remove("scanner")
        with pytest.raises(rp.errors.NotFoundError, match=r"pacs\.peers\.add"):
            pacs.peers["scanner"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"aet": "A TITLE THAT IS TOO LONG"},
        {"aet": "back\\slash"},
        {"port": 0},
        {"host": ""},
        {"allow": ["everything"]},
    ],
)
def test_a_peer_that_cannot_be_is_refused(pacs: rp.Pacs, wrong: dict[str, object]) -> None:
    with pytest.raises(rp.errors.InvalidInputError):
        pacs.peers.add("x", **{"aet": "X", "host": "localhost", "port": 104, **wrong})  # type: ignore[arg-type]


def test_a_peer_that_is_not_there_or_calls_us_wrong_raises_remote_error(scp: Scp) -> None:
    with pytest.raises(rp.errors.RemoteError, match="cannot be reached"):
        Peer("nobody", "X", "127.0.0.1", free_port()).echo()
    with pytest.raises(rp.errors.RemoteError, match="does not know itself"):
        Peer("self", "WRONG", "127.0.0.1", scp.port).echo()


def test_without_pynetdicom_the_extra_is_named(home: Path) -> None:
    script = """
import sys
sys.modules["pynetdicom"] = None
import researchpacs as rp
with rp.connect(sys.argv[1]) as pacs:
    peer = pacs.peers.add("x", aet="X", host="127.0.0.1")
    for speak in (peer.echo, lambda: pacs.find_remote("x"), lambda: __import__("researchpacs.server.dimse")):
        try:
            speak()
        except rp.errors.MissingExtraError as error:
            assert "researchpacs[dimse]" in str(error)
        else:
            raise AssertionError(speak)
"""
    subprocess.run([sys.executable, "-c", script, str(home)], check=True, timeout=60)


# -- a real Orthanc -------------------------------------------------------------------------------------------------


def test_a_study_goes_to_orthanc_is_found_there_and_comes_back_byte_for_byte(
    filled: rp.Pacs, orthanc: Peer, tmp_path: Path
) -> None:
    peer = _same_as_peer(filled, orthanc)
    study = filled.study(small_ct().StudyInstanceUID)
    report = filled.send([study, filled.study("1.2.3.4")], "orthanc")
    assert (report.sent, report.failed) == (9, 0)
    assert set(report.df().status) == {0}
    hits = filled.find_remote(peer, PatientID="B*", StudyDate=("2023", "2023-12-31"))
    assert [str(hit.StudyInstanceUID) for hit in hits] == ["1.2.3.4"]
    assert hits.df().NumberOfStudyRelatedInstances.tolist() == [3]
    assert "PatientName" not in hits.df()
    assert len(filled.find_remote("orthanc", "instance", StudyInstanceUID="1.2.3.4")) == 3
    assert len(filled.find_remote("orthanc", "series", Modality="CT")) == 1
    with rp.connect(tmp_path / "second") as second:
        _same_as_peer(second, orthanc)
        got = second.retrieve("orthanc", second.find_remote("orthanc", StudyInstanceUID=study.uid))
        assert (got.stored, got.refused) == (6, 0)
        assert [one.uid for one in got.series] == [small_ct().SeriesInstanceUID]
        again = second.retrieve("orthanc", study.uid)
        assert (again.stored, again.duplicates) == (0, 6)
        for one in study.series[0].instances:
            assert dataset_bytes(second.archive.read(one.uid)) == dataset_bytes(filled.archive.read(one.uid))


def test_orthanc_takes_every_encoding_as_it_is(pacs: rp.Pacs, orthanc: Peer, encodings: list[Path]) -> None:
    pacs.ingest(encodings)
    _same_as_peer(pacs, orthanc)
    report = pacs.send(pacs.search("series"), "orthanc")
    assert (report.sent, report.failed) == (len(encodings), 0)


# -- our own SCP ----------------------------------------------------------------------------------------------------


def test_the_bytes_of_every_encoding_stay_untouched_both_ways(
    pacs: rp.Pacs, scp: Scp, encodings: list[Path], tmp_path: Path
) -> None:
    with rp.connect(tmp_path / "other") as other:
        other.ingest(encodings)
        other.peers.add("self", aet=scp.aet, host="127.0.0.1", port=scp.port)
        assert other.send(other.search("instance"), "self").sent == len(encodings)
        for one in other.search("instance"):
            sent = dataset_bytes(other.archive.read(one.uid))
            # A message has an even number of bytes; that a deflated data set is completed by a zero is PS3.5 A.5.
            assert dataset_bytes(pacs.archive.read(one.uid)) == sent + bytes(len(sent) % 2)
            here, there = (dcmread(BytesIO(archive.read(one.uid))) for archive in (other.archive, pacs.archive))
            assert here.file_meta.TransferSyntaxUID == there.file_meta.TransferSyntaxUID
    with rp.connect(tmp_path / "third") as third:
        third.peers.add("self", aet=scp.aet, host="127.0.0.1", port=scp.port)
        assert third.retrieve("self", third.find_remote("self")).stored == len(encodings)
        for one in pacs.search("instance"):
            assert dataset_bytes(third.archive.read(one.uid)) == dataset_bytes(pacs.archive.read(one.uid))


def test_retrieve_by_move_comes_in_by_our_own_scp(filled: rp.Pacs, tmp_path: Path) -> None:
    with rp.connect(tmp_path / "source") as source, start_scp(source, ScpOptions(port=0, aet="SOURCE")) as theirs:
        source.ingest([small_ct(number, **OTHER) for number in range(20, 23)])
        with start_scp(filled, ScpOptions(port=0, aet="OURS")) as ours:
            source.peers.add("back", aet="OURS", host="127.0.0.1", port=ours.port)
            filled.peers.add("source", aet="SOURCE", host="127.0.0.1", port=theirs.port, get=False, calling_aet="OURS")
            report = filled.retrieve("source", "1.2.3.4")
            assert (report.stored, report.refused) == (3, 0)
            source.peers.remove("back")
            with pytest.raises(rp.errors.RemoteError) as caught:
                filled.retrieve("source", "1.2.3.4")
    assert caught.value.status == 0xA801


def test_who_takes_no_compression_gets_it_uncompressed(pacs: rp.Pacs, scp: Scp, dcmtk: Tool, tmp_path: Path) -> None:
    file = get_testdata_file("MR_small_RLE.dcm")
    pacs.ingest(file)
    study = pacs.search("study").one().uid
    folder = tmp_path / "got"
    folder.mkdir()
    dcmtk("getscu", "-S", "-aec", scp.aet, "-od", folder, "-k", "QueryRetrieveLevel=STUDY", "-k",
          f"StudyInstanceUID={study}", "127.0.0.1", scp.port)  # fmt: skip
    (got,) = [dcmread(path) for path in folder.iterdir()]
    assert not got.file_meta.TransferSyntaxUID.is_compressed
    assert (got.pixel_array == dcmread(file).pixel_array).all()


def test_send_tells_of_each_instance_that_the_peer_refuses(filled: rp.Pacs, tmp_path: Path) -> None:
    missing = filled.search("instance", SOPInstanceUID=small_ct(2).SOPInstanceUID).one()
    Path(filled.archive.locate([missing.uid])[0].path).unlink()
    with rp.connect(tmp_path / "other") as other, start_scp(other, ScpOptions(port=0)) as theirs:
        filled.peers.add("other", aet=theirs.aet, host="127.0.0.1", port=theirs.port)
        report = filled.send(filled.study(small_ct().StudyInstanceUID), "other")
    assert (report.sent, report.failed) == (5, 1)
    (row,) = report.df().query("not sent").itertuples()
    assert row.SOPInstanceUID == missing.uid
    assert row.reason


# -- TLS ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and a certificate for 127.0.0.1 that it signed; another authority that signed nothing."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    for name in ("ca", "other"):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout",
                f"{name}.key", "-out", f"{name}.pem")  # fmt: skip
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=node", "-keyout", "node.key", "-out", "node.csr")
    openssl("x509", "-req", "-in", "node.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "san", "-out", "node.pem")  # fmt: skip
    return folder


@pytest.fixture
def tls_scp(pacs: rp.Pacs, certificates: Path) -> Iterator[Scp]:
    tls = ServerTls(certificates / "node.pem", certificates / "node.key", certificates / "ca.pem")
    with start_scp(pacs, ScpOptions(port=0, tls=tls)) as scp:
        yield scp


def test_dcmtk_stores_over_tls_and_only_with_a_certificate(
    tls_scp: Scp, pacs: rp.Pacs, dcmtk: Tool, certificates: Path, slices: list[Path]
) -> None:
    security = ("+tls", certificates / "node.key", certificates / "node.pem", "+cf", certificates / "ca.pem")
    where = ("-aec", tls_scp.aet, "127.0.0.1", tls_scp.port)
    dcmtk("echoscu", *security, *where)
    dcmtk("storescu", *security, *where, *slices)
    assert len(pacs.search("instance")) == len(slices)
    dcmtk("findscu", "-S", *security, "-k", "QueryRetrieveLevel=STUDY", *where)
    assert dcmtk("echoscu", "+tla", "+cf", certificates / "ca.pem", *where, check=False).returncode
    assert dcmtk("echoscu", *where, check=False).returncode
    dcmtk("echoscu", *security, *where)


@contextlib.contextmanager
def tunnel(port: int, certificates: Path) -> Iterator[int]:
    """A port without TLS that leads to one with TLS, as stunnel makes it for programs that do not speak it."""
    context = ssl.create_default_context(cafile=certificates / "ca.pem")
    context.load_cert_chain(certificates / "node.pem", certificates / "node.key")

    async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()
        target.close()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        await asyncio.gather(pass_on(reader, far_writer), pass_on(far_reader, writer), return_exceptions=True)

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(meet, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def test_dcmtk_gets_and_moves_over_tls_to_a_node_that_speaks_it_too(
    tls_scp: Scp, pacs: rp.Pacs, dcmtk: Tool, certificates: Path, slices: list[Path], tmp_path: Path
) -> None:
    """Its getscu and movescu speak no TLS themselves in version 3.6.7; the node that receives does."""
    pacs.ingest(slices)
    wanted = sorted(str(small_ct(number).SOPInstanceUID) for number in range(7, 10))
    keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={OTHER['StudyInstanceUID']}")
    security = ("+tls", certificates / "node.key", certificates / "node.pem", "+cf", certificates / "ca.pem")
    for folder in ("got", "moved"):
        (tmp_path / folder).mkdir()
    port = free_port()
    command = ["storescp", *map(str, security), "-aet", "RECEIVER", "-od", str(tmp_path / "moved"), "+xa", str(port)]
    ours = {"certificate": str(certificates / "node.pem"), "key": str(certificates / "node.key")}
    tls = Tls(str(certificates / "ca.pem"), **ours)
    with tunnel(tls_scp.port, certificates) as plain, subprocess.Popen(command) as receiver:
        where = ("-aec", tls_scp.aet, "127.0.0.1", plain)
        try:
            dcmtk("getscu", "-S", "-od", tmp_path / "got", *keys, *where)
            wait_until(lambda: dcmtk("echoscu", *security, "127.0.0.1", port, check=False).returncode == 0)
            pacs.peers.add("receiver", aet="RECEIVER", host="127.0.0.1", port=port, tls=tls)
            dcmtk("movescu", "-S", "-aem", "RECEIVER", *keys, *where)
        finally:
            receiver.terminate()
    for folder in ("got", "moved"):
        assert sorted(str(ds.SOPInstanceUID) for ds in read_all(tmp_path / folder)) == wanted
    with rp.connect(tmp_path / "other") as other:
        other.peers.add("ours", aet=tls_scp.aet, host="127.0.0.1", port=tls_scp.port, tls=tls)
        assert other.retrieve("ours", OTHER["StudyInstanceUID"]).stored == 3


def test_our_scu_speaks_tls_and_trusts_only_whom_it_is_told_to(tls_scp: Scp, certificates: Path) -> None:
    ours = {"certificate": str(certificates / "node.pem"), "key": str(certificates / "node.key")}

    def peer(authority: str) -> Peer:
        return Peer("self", tls_scp.aet, "127.0.0.1", tls_scp.port, Tls(str(certificates / authority), **ours))

    assert peer("ca.pem").echo() < 5
    with pytest.raises(rp.errors.RemoteError, match="TLS"):
        peer("other.pem").echo()


def test_a_tls_handshake_that_never_ends_keeps_nobody_out(tls_scp: Scp, certificates: Path) -> None:
    import socket

    with socket.create_connection(("127.0.0.1", tls_scp.port)):
        ours = Tls(str(certificates / "ca.pem"), str(certificates / "node.pem"), str(certificates / "node.key"))
        assert Peer("self", tls_scp.aet, "127.0.0.1", tls_scp.port, ours).echo() < 5
