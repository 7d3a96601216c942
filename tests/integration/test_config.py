# SPDX-License-Identifier: Apache-2.0
"""Settings as an operator meets them: check-config, and what `serve` says before it refuses to start."""
import os
import pathlib
import subprocess

import pytest

from support.server import binary, clean_environment, run

ROOT = pathlib.Path(__file__).resolve().parents[2]

BAD = """\
listen: 127.0.0.1:0
serer:
  threads: 4
limits:
  - name: per-client
    limit: 10
    window: 60
"""


@pytest.fixture
def bad(tmp_path):
    (tmp_path / "bad.yaml").write_text(BAD)
    return tmp_path


def test_a_good_file_is_ok(tmp_path):
    (tmp_path / "good.yaml").write_text("listen: 127.0.0.1:0\n")
    done = run("check-config", "good.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "good.yaml: ok\n", "")


def test_the_example_is_ok(tmp_path):
    done = run("check-config", str(ROOT / "etc" / "sluice.yaml"), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_error_is_named(bad):
    done = run("check-config", "bad.yaml", cwd=bad)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        'bad.yaml:2: serer: unknown key; did you mean "server"?',
        'bad.yaml:7: limits[0].window: "60" has no unit; write 60s, 500ms, 1h…',
    ]


def test_errors_are_cut_off(tmp_path):
    (tmp_path / "f.yaml").write_text("".join(f"zebra{i}: 1\n" for i in range(30)))
    done = run("check-config", "f.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[20:] == ["f.yaml: and more: the first 20 are shown"]


@pytest.mark.parametrize("arguments, status", [
    ([], 2), (["a", "b"], 2), ([""], 2), (["--help"], 0), (["/nonexistent"], 2), (["/"], 2), (["--nonsense"], 2),
])
def test_check_config_is_asked_wrongly(tmp_path, arguments, status):
    done = run("check-config", *arguments, cwd=tmp_path)
    assert done.returncode == status
    assert (done.stdout if status == 0 else done.stderr).count("\n") >= 1


def test_an_answer_that_can_not_be_written_is_no_success(tmp_path):
    """`check-config FILE >/dev/full` as a script would call it."""
    (tmp_path / "f.yaml").write_text("")
    with open("/dev/full", "wb") as full:
        done = subprocess.run([binary(), "check-config", "f.yaml"], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE,
                              env=clean_environment(), timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr


@pytest.mark.parametrize("arguments, env, says", [
    (["--config", "bad.yaml"], {}, 'bad.yaml:2: serer: unknown key; did you mean "server"?'),
    (["--config", "none.yaml"], {}, "none.yaml: can't be read: No such file or directory"),
    (["--limit", "10"], {}, '--limit: "10" is not a limit; write 10/60s (requests/window) or off'),
    (["--limiter", "memcached://user:secret@10.0.0.130"], {}, '; it has no store "memcached:"'),
    (["--limiter", "redis://user:secret@h:port"], {}, "--limiter: the port of host 1 is no number from 1 to 65535"),
    ([], {"SLUICE_LIMITER": "redis+cluster://:x/secret@h"}, "SLUICE_LIMITER: an @ follows a '/'"),
    ([], {"SLUICE_LIMTI": "5/1s"}, "SLUICE_LIMTI: unknown variable; did you mean SLUICE_LIMIT?"),
    ([], {"SLUICE_PORT": "5000"}, "SLUICE_PORT: unknown variable; did you mean SLUICE_LISTEN=0.0.0.0:5000?"),
    ([], {"SLUICE_THREADS": "many"}, 'SLUICE_THREADS: "many" is not a whole number'),
])
def test_serve_refuses_what_is_wrong(bad, arguments, env, says):
    done = run("serve", "--listen", "127.0.0.1:0", "--links", "sqlite::memory:", *arguments, cwd=bad, env=env)
    assert done.returncode == 2
    assert says in done.stderr
    assert "secret" not in done.stderr
    assert os.listdir(bad) == ["bad.yaml"]  # nothing was begun


def test_flags_win_over_variables_and_variables_over_the_file(start):
    file = "limits:\n  - {name: per-client, limit: 1, window: 1h}\n"

    def admitted(**settings):
        server = start(**settings)
        return [server.get("/").status for _ in range(5)].count(200)

    assert admitted(config=file) == 1
    assert admitted(config=file, env={"SLUICE_LIMIT": "2/1h"}) == 2
    assert admitted(config=file, env={"SLUICE_LIMIT": "2/1h"}, limit="3/1h") == 3
    assert admitted(config=file, env={"SLUICE_LIMIT": ""}) == 1
    assert admitted(config=file, env={"SLUICE_LIMIT": "off"}) == 5
