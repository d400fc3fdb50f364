"""A file of rules with a mistake is refused before anything is served, and it is said where the mistake is."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import researchpacs as rp
from researchpacs.errors import InvalidInputError
from researchpacs.server.jobs import Retry
from researchpacs.server.routing import check_rules, read_rules

_GOOD = '[[rule]]\nname = "one"\nwhen = "true"\nthen = { label = "x" }\n'


@pytest.fixture
def pacs(home: Path) -> Iterator[rp.Pacs]:
    with rp.connect(home) as pacs:
        yield pacs


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rule = 1", "1 to 100 tables"),
        ("", "1 to 100 tables"),
        ("[[rule]", "no TOML"),
        (_GOOD + "[other]\n", "'other' means nothing here"),
        (_GOOD.replace("then", "than"), "rule 1 ('one'): 'than' means nothing here"),
        (_GOOD.replace('name = "one"\n', ""), "rule 1: name is a text"),
        (_GOOD + _GOOD, "rule 2: another rule is called 'one'"),
        (_GOOD.replace('"true"', "true"), "rule 1 ('one'): when is a text"),
        (_GOOD.replace("label", "forward"), "'forward' means nothing here; there are label, run, send"),
        (_GOOD.replace('{ label = "x" }', "{ }"), "then is a table"),
        (_GOOD.replace('"x"', "[]"), "label is empty"),
        (_GOOD.replace('"x"', '["x", "x"]'), "the same twice"),
        (_GOOD.replace('"x"', '"not a label"'), "a label is made of"),
        (
            _GOOD.replace("label", "send").replace('"x"', '"ftp://x:y@host/"'),
            "rule 1 ('one'): a remote archive is named",
        ),
        (_GOOD.replace("label", "send"), "rule 'one': no peer is called 'x'; add it with pacs.peers.add"),
        (_GOOD.replace("label", "run"), "rule 'one': no installed package offers 'x'"),
        (_GOOD.replace("true", "Modalty = 'CT'"), "rule 'one': Binder Error: Referenced column \"Modalty\" not found"),
        (_GOOD.replace("true", "1; drop table series"), "rule 'one': the condition cannot be read as SQL"),
        ("[retry]\nattempts = 0\n" + _GOOD, "retry: attempts is a number above 0"),
        ("[retry]\nattempts = 1.5\n" + _GOOD, "retry: attempts is a whole number"),
        ("[retry]\npatience = 1\n" + _GOOD, "retry: 'patience' means nothing here"),
    ],
)
def test_a_mistake_is_told_with_its_rule(pacs: rp.Pacs, tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(InvalidInputError) as caught:
        check_rules(read_rules(path), pacs, source=str(path))
    assert told in str(caught.value)
    assert str(path) in str(caught.value)
    assert "x:y" not in str(caught.value)


@pytest.mark.parametrize("code", ["count = 1\n", "import no_such_module\n"])
def test_a_function_that_cannot_be_called_is_a_mistake(
    pacs: rp.Pacs, write_rule: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    _install(tmp_path, code)
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(InvalidInputError, match="rule 'one': the entry point 'count'"):
        check_rules(read_rules(write_rule('{ run = "count" }')), pacs, source="rules.toml")


def test_serve_refuses_to_start_with_a_mistake(home: Path, write_rule: Any) -> None:
    path = write_rule('{ label = "x" }', when="read_csv('/etc/passwd') is null")
    command = [sys.executable, "-m", "researchpacs", "--home", str(home), "serve", "--port", "0", "--rules", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "rule 'one': a condition cannot call read_csv()" in done.stderr


def test_rules_say_how_often_to_try(write_rule: Any) -> None:
    assert read_rules(write_rule('{ label = "x" }', retry="attempts = 7")).retry == Retry(
        attempts=7, first_s=5.0, longest_s=1800.0
    )


def _install(folder: Path, code: str) -> None:
    """A package with an entry point, as pip leaves it."""
    site = folder / "site"
    (site / "demo_routes-1.0.dist-info").mkdir(parents=True)
    (site / "demo_routes-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: demo-routes\nVersion: 1\n"
    )
    points = f"[researchpacs.routes]\ncount = demo_routes_{folder.name}:count\n"
    (site / "demo_routes-1.0.dist-info" / "entry_points.txt").write_text(points)
    (site / f"demo_routes_{folder.name}.py").write_text(code)
