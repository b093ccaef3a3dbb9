import importlib.util
import platform
import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks" / "static_and_dynamic.py"
PAGE = (ROOT / "docs" / "static_and_dynamic.md").read_text()
MADE_WITH = re.search(r"^JAX (\S+), cpu, (\S+)$", PAGE, re.MULTILINE)
FENCED = re.compile(r"^```(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("static_and_dynamic", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outline(page):
    """Everything but what stands in the outputs."""
    return FENCED.sub(lambda block: "output" if block[1] == "text" else block[0], page)


@pytest.mark.oldest
def test_the_page_is_what_its_code_prints(script):
    done = subprocess.run([sys.executable, SCRIPT, "--print"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    same = (jax.__version__, platform.machine()) == (MADE_WITH[1], MADE_WITH[2])
    view = script.steady if same else outline
    assert view(done.stdout).splitlines() == view(PAGE).splitlines()


def test_the_page_was_made_with_the_newest_version_tested():
    assert f"\njax=={MADE_WITH[1]}\n" in (ROOT / "constraints" / "newest.txt").read_text()


def test_every_claim_is_shown_by_something_that_ran():
    claims = re.split(r"^### ", PAGE.split("## Where JAX blurs the line")[0], flags=re.MULTILINE)[1:]
    assert len(claims) == 2 + 3 + 4 + 2
    assert all("```text\n" in claim for claim in claims)


def test_the_text_names_no_number_that_could_grow_old():
    assert not re.search(r"\d", FENCED.sub("", PAGE))


def test_times_and_rounding_are_masked_and_nothing_else(script):
    page = (
        "eager     12.5 ms  first call 3 s, 8 sizes, 2 steps\nrun   ~1,234 times, largest difference from eager 1e-7\n"
    )
    assert script.steady(page) == "eager ~ first call ~, 8 sizes, 2 steps\nrun ~ times, largest ~\n"
    assert script.steady("compiling pays from 12 calls on\n96 FLOPs\n") == "~\n96 FLOPs\n"


def test_outputs_take_the_place_of_earlier_ones(script):
    page = "a\n```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n\n```python\nx = 5\n```\nb\n```python\nprint(x)\n```\n"
    made = script.regenerated(page)
    assert made == page.replace("3\n", "2\n").replace("print(x)\n```\n", "print(x)\n```\n\n```text\n5\n```\n")
    assert script.regenerated(made) == made


def test_an_error_is_shown_with_the_lines_that_led_to_it(script):
    page = "```python raises\n# half.py\ndef half(n):\n    return n // 0\n\n\nhalf(1)\n```\n"
    assert script.regenerated(page).endswith(
        "```text\nhalf.py:6 (<module>)  half(1)\nhalf.py:3 (half)  return n // 0\n"
        "ZeroDivisionError: integer division or modulo by zero\n```\n"
    )


def test_an_error_that_was_not_announced_or_did_not_come_stops_the_script(script):
    with pytest.raises(ZeroDivisionError):
        script.regenerated("```python\n1 // 0\n```\n")
    with pytest.raises(SystemExit, match="did not raise"):
        script.regenerated("```python raises\n1\n```\n")
