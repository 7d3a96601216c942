# SPDX-License-Identifier: Apache-2.0
"""The manual pages: they render without a word of complaint, and name every flag, command and setting."""
import os
import pathlib
import re
import subprocess

import pytest

from support.server import binary, run

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = {"sluice.1": ROOT / "docs" / "man" / "sluice.1",
         "sluice.yaml.5": pathlib.Path(binary()).parent / "src" / "config" / "sluice.yaml.5"}


def rendered(page, width="200"):
    done = subprocess.run(["man", "--warnings", "-l", str(page)], capture_output=True, text=True, check=False,
                          env=dict(os.environ, MANWIDTH=width, LC_ALL="C.UTF-8"))
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", ["60", "78", "200"])
def test_a_page_renders_without_warnings(name, width):
    text = rendered(PAGES[name], width)
    assert name.rsplit(".", 1)[0].upper() in text.split("\n")[0] and len(text) > 2000


@pytest.mark.parametrize("command", ["serve", "check-config", "inspect", "reset", "links"])
def test_every_command_and_flag_is_in_the_manual(tmp_path, command):
    usage, page = run("help", command, cwd=tmp_path).stdout, rendered(PAGES["sluice.1"])
    flags = set(re.findall(r"(?<![\w-])--[a-z-]+", usage)) - {"--help"}
    assert f"sluice {command}" in page
    assert [flag for flag in sorted(flags) if flag not in page] == []


def test_the_manual_names_no_flag_that_there_is_not(tmp_path):
    usages = [run(*words, cwd=tmp_path).stdout for words in (["--help"], ["help", "serve"], ["help", "links"])]
    known = set(re.findall(r"--[a-z-]+", "".join(usages))) | {"--data-urlencode"}  # curl's
    assert set(re.findall(r"(?<![\w-])--[a-z-]+", rendered(PAGES["sluice.1"]))) <= known


def test_every_setting_is_in_the_manual():
    """config.md and the manual are made from the same table; what the one has the other has too."""
    reference, page = (ROOT / "docs" / "config.md").read_text(), rendered(PAGES["sluice.yaml.5"])
    settings = re.findall(r"^\| `([a-z0-9_.]+)` \| (.*?) \| .*? \|(?: `(SLUICE_\w+)`)?", reference, re.MULTILINE)
    assert len(settings) > 35
    lines = page.split("\n")
    for name, allowed, variable in settings:
        assert any(line.strip().split("  ")[0] == name for line in lines), name
        assert allowed in page, (name, allowed)
        assert not variable or variable in page, variable
