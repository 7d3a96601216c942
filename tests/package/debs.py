# SPDX-License-Identifier: Apache-2.0
"""The packages that `make deb` built, and one that is newer than they are. SLUICE_TEST_DEB names their folder."""
import os
import pathlib
import re
import subprocess

NAMES = {"sluice", "sluice-redis-module", "libsluice-core0", "libsluice-core-dev"}


def built():
    """{name: file}, without debug symbols."""
    folder = os.environ.get("SLUICE_TEST_DEB")
    assert folder, "SLUICE_TEST_DEB names the folder of the packages: `make deb-test` and `make vm-test` set it"
    found = {path.name.split("_")[0]: path for path in pathlib.Path(folder).glob("*.deb") if "-dbgsym_" not in path.name}
    assert set(found) == NAMES, found
    return found


def newer(package, folder):
    """The package `sluice` with a higher version, and a setting of its own in sluice.yaml. Returns its file."""
    subprocess.run(["dpkg-deb", "-R", package, folder / "tree"], check=True)
    control = folder / "tree/DEBIAN/control"
    control.write_text(re.sub(r"^Version: .*$", "Version: 99.0", control.read_text(), flags=re.MULTILINE))
    with open(folder / "tree/etc/sluice/sluice.yaml", "a", encoding="utf-8") as file:
        file.write("# new in this version\n")
    made = folder / "sluice_99.0_amd64.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", folder / "tree", made], check=True, capture_output=True)
    return made
