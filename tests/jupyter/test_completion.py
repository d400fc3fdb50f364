"""Tab completion in Python cells: in an IPython of its own, and in a real kernel that loaded no extension."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from jupyter_client.manager import start_new_kernel

import researchpacs as rp
from researchpacs._pacs._completion import complete_call
from researchpacs.testing import small_ct


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rp.Pacs]:
    with rp.connect(tmp_path_factory.mktemp("completion") / "home") as made:
        made.ingest(small_ct(1), progress=False)
        yield made


@pytest.mark.parametrize(
    ("text", "word", "wanted"),
    [
        ("pacs.search(", "", "Modality="),
        ("pacs.search(Moda", "Moda", "ModalitiesInStudy="),
        ("x = pacs.search('series', body", "body", "BodyPartExamined="),
        ("pacs.search(\n    'series',\n    Modality=['CT', 'MR'],\n    Fla", "Fla", "FlashMode="),
        ("pacs.search(StudyDate=('2021', '2023'), or", "or", "order="),
        ("len(pacs.search(te", "te", "text="),
        ("hits.df(columns=['Modality', 'Slice", "Slice", "SliceThickness"),
        ('hits.pl(columns=["', "", "instance_count"),
    ],
)
def test_what_may_stand_there_is_offered(pacs: rp.Pacs, text: str, word: str, wanted: str) -> None:
    found = complete_call(text, {"pacs": pacs, "hits": pacs.search("series")})
    assert found[0] == word
    assert wanted in found[1]
    assert all(name.lower().startswith(word.lower()) for name in found[1])


@pytest.mark.parametrize(
    "text",
    [
        "other.search(Mod", "pacs.search('Mod", "pacs.search(Modality=Mo", "pacs.search(Modality='CT') and Mo",
        "re.search(Mo", "pacs.sql(Mo", "hits.df(", "hits.df(columns=[Mod", "Mod", "pacs.search(Modality=f(Mo",
        "# pacs.search(Mo",
    ],
)  # fmt: skip
def test_nothing_is_offered_elsewhere(pacs: rp.Pacs, text: str) -> None:
    import re

    found = complete_call(text, {"pacs": pacs, "hits": pacs.search("series"), "re": re, "other": 1})
    assert found[1] == []


def test_what_is_given_is_not_offered_again(pacs: rp.Pacs) -> None:
    _, names = complete_call("pacs.search(Modality='CT', Mod", {"pacs": pacs})
    assert "ModalitiesInStudy=" in names
    assert "Modality=" not in names


def test_handles_offer_their_attributes(pacs: rp.Pacs) -> None:
    shell = InteractiveShell()
    shell.user_ns["series"] = pacs.search("series").one()
    with provisionalcompleter():
        found = [one.text for one in shell.Completer.completions("series.Slice", 12)]
    assert "SliceThickness" in found


def test_a_plain_kernel_completes_keywords_once_an_archive_is_open(tmp_path: Path) -> None:
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        code = f"import researchpacs as rp\npacs = rp.connect({str(tmp_path / 'home')!r})\nhits = pacs.search('series')"
        reply = client.execute_interactive(code, timeout=120, output_hook=lambda _: None)
        assert reply["content"]["status"] == "ok", reply["content"]
        for text, wanted in (("pacs.search(Modal", "Modality="), ("hits.", "df"), ("hits.df(columns=['KV", "KVP")):
            client.complete(text, len(text))
            found = client.get_shell_msg(timeout=120)["content"]["matches"]
            assert any(match.endswith(wanted) for match in found), (text, found[:10])
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
