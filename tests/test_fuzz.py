"""The fuzzer, in short, and that it would see what it is there for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.documents import TOP

SEED = os.environ.get("FUZZ_SEED", "quick")


def test_hostile_input_in_short() -> None:
    """In a process of its own: what watches it cannot be taken out again."""
    argv = [sys.executable, "-m", "tests.fuzz", "--count", "500", "--seed", SEED]
    done = subprocess.run(argv, cwd=TOP, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "500 cases" in done.stdout and " 0 bad" in done.stdout
    outcomes = dict(line.split(": ") for line in done.stdout.splitlines()[:-1])
    for kind in ("path", "tree", "text", "image", "archive"):
        assert int(outcomes[f"{kind} ok"]) > 0, "some are right, so what lies behind is reached"
        assert int(outcomes[f"{kind} refused"]) > 0


BROKEN = {
    "a link out of the folder is followed": "from factory.recipe import files\n"
    "files.locate = lambda folder, name: (folder / name).resolve()\n",
    "a path leads to a file beside": "from factory.recipe import loading\nfind = loading.find_recipe\n"
    "loading.find_recipe = lambda *a: [find(*a), open('/etc/hostname').close()][0]\n",
    "a fault is a traceback": "from factory.recipe import loading\nloading.RULES = (lambda source: 1 / 0,)\n",
    "a name reaches a shell": "from factory import targets\nimport os\ntargets.load = lambda name: os.system('true')\n",
    "a case never ends": "from factory.recipe import loading\nimport time\nfrom tests import fuzz\nfuzz.HANG = 1\n"
    "loading.load = lambda *a, **k: time.sleep(30)\n",
    "the seed takes keys of the recipe": "from factory import seed\nmake = seed.build_seed\n"
    "from dataclasses import replace\n"
    "seed.build_seed = lambda **k: (lambda s: replace(s, user_data=s.user_data.replace('disable_root: false', "
    "'disable_root: true') if k.get('extra') else s.user_data))(make(**k))\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("broken", BROKEN)
def test_the_fuzzer_sees(broken: str) -> None:
    code = BROKEN[broken] + "import sys\nfrom tests.fuzz import main\nsys.exit(main(['--count', 'COUNT']))"
    code = code.replace("COUNT", "10" if "never ends" in broken else "150")
    argv = [sys.executable, "-c", code]
    done = subprocess.run(argv, cwd=TOP, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert " 0 bad" not in done.stdout
