"""The script of deliberate faults still fits the source; running it is left to ``python tests/faults.py``."""

import importlib.util
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def load_script():
    spec = importlib.util.spec_from_file_location("faults", TESTS / "faults.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


FAULTS = load_script().FAULTS


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_still_fits_the_source(fault):
    source = (TESTS.parent / "skvae" / fault.file).read_text(encoding="utf-8")
    assert source.count(fault.old) == 1
    compile(source.replace(fault.old, fault.new), fault.file, "exec")
    for test in fault.tests:
        file, _, name = test.partition("::")
        assert f"def {name}" in (TESTS / file).read_text(encoding="utf-8")


def test_words_that_no_fault_has_are_an_error(capsys):
    assert load_script().main(["nonsense"]) == 2
    assert "No fault has one of ['nonsense'] in its name" in capsys.readouterr().out


def test_faults_are_told_apart():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert len({(fault.file, fault.old, fault.new) for fault in FAULTS}) == len(FAULTS)
