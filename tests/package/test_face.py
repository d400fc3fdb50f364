"""The public face: small, sorted, lazy and light."""

import os
import subprocess
import sys

import researchpacs as rp

HEAVY = ("pydicom", "numpy", "xarray", "dask", "duckdb", "SimpleITK", "jupyterlab", "starlette")
MODULES = {"codes", "datasets", "errors", "features", "reconstruct", "testing"}


def _fresh(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    return done.stdout.strip()


def test_all_is_sorted_and_every_name_loads():
    assert rp.__all__ == sorted(rp.__all__)
    assert all(getattr(rp, name) is not None for name in rp.__all__)


def test_at_most_thirty_names_beside_the_modules():
    assert len(set(rp.__all__) - MODULES) <= 30


def test_import_loads_no_heavy_library():
    loaded = _fresh(f"import sys, researchpacs; print([m for m in {HEAVY!r} if m in sys.modules])")
    assert loaded == "[]"


def test_import_takes_under_300_ms():
    code = "import time; t = time.process_time(); import researchpacs; print(time.process_time() - t)"
    assert min(float(_fresh(code)) for _ in range(3)) < 0.3


def test_unknown_name_is_an_attribute_error():
    assert _fresh("import researchpacs as rp; print(hasattr(rp, 'no_such_name'))") == "False"


def test_a_name_stays_itself_on_its_second_use():
    assert _fresh("import researchpacs as rp; a = rp.view; b = rp.view; print(a is b and callable(b))") == "True"


def test_dir_offers_the_public_names():
    assert set(rp.__all__) <= set(dir(rp))


def test_versions_name_what_takes_part(capsys):
    rp.show_versions()
    shown = capsys.readouterr().out
    assert "python" in shown
    assert f"researchpacs              {rp.__version__}" in shown
