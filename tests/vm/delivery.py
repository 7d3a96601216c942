# SPDX-License-Identifier: Apache-2.0
"""What `tofu apply` does with a machine after it is made: the steps of deploy/terraform/modules/deliver, and for a container
those of modules/container before them, read out of these files and given over SSH in the same order.

Leaves out: OpenTofu itself (tests/terraform has it deliver for real, to a chroot).
"""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODULES = ROOT / "deploy/terraform/modules"
PROVISIONER = re.compile(r'provisioner "(file|remote-exec)" \{\n(.*?)\n  \}', re.DOTALL)


def steps(module, resource):
    """[("run", command) or ("put", target) or ("script", file)] of a resource."""
    text = (MODULES / module / "main.tf").read_text()
    block = re.search(rf'^resource "terraform_data" "{resource}" \{{\n(.*?)^\}}', text, re.DOTALL | re.MULTILINE).group(1)
    found = []
    for kind, body in PROVISIONER.findall(block):
        if kind == "file":
            found.append(("put", re.search(r'destination = "(.*)"', body).group(1)))
        elif "script" in body:
            found.append(("script", MODULES / module / re.search(r'script = "\$\{path.module\}/(.*)"', body).group(1)))
        else:
            # OpenTofu makes one script of them.
            found.append(("run", "\n".join(re.findall(r'"((?:[^"\\]|\\.)*)"', body.split("inline", 1)[1]))))
    assert found, (module, resource)
    return found


class Delivery:
    """@param limit_s  for each step: an emulated machine installs packages slowly."""

    def __init__(self, machine, folder, limit_s=1200):
        self.machine, self.folder, self.limit_s = machine, pathlib.Path(folder), limit_s
        self.sudo = "" if machine.shell.is_root else "sudo "

    def _do(self, module, resource, contents):
        """@param contents  of the files that are put, in order: bytes."""
        contents = iter(contents)
        for what, value in steps(module, resource):
            if what == "put":
                path = self.folder / "put"
                path.write_bytes(next(contents))
                path.chmod(0o600)
                self.machine.put(path, value)
                continue
            if what == "script":
                self.machine.put(value, "/tmp/script")
                value = "sh /tmp/script"
            command = value.replace("${local.sudo}", self.sudo)
            assert "${" not in command, command
            done = self.machine.shell.call(command, self.limit_s, text=True)
            assert done.returncode == 0, f"{self.machine.name}: {command}: {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"

    def source(self, archive):
        self._do("deliver", "source", [archive])

    def files(self, user_data):
        self._do("deliver", "files", [user_data.encode()])

    def secrets(self, secrets):
        self._do("deliver", "secrets", ["".join(f"{name} {line}\n" for name, line in secrets.items()).encode()])

    def start_cloud_init(self, user_data, revision):
        """Of modules/container."""
        meta = f"instance-id: sluice-{revision}\nlocal-hostname: {self.machine.name}\n"
        self._do("container", "cloud_init", [user_data.encode(), meta.encode()])
