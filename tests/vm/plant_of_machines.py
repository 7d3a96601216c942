# SPDX-License-Identifier: Apache-2.0
"""The machines of deploy/terraform, from the files that cloud-init is told (tests/terraform/rendered): each made, delivered to
as `tofu apply` does it, and kept running until the end.

Leaves out: what is expected of them (test_plant.py).
"""
import io
import pathlib
import re
import subprocess
import tarfile
import time

from delivery import ROOT, Delivery
from machine import Machine
from ops import Client

RENDERED = ROOT / "tests/terraform/rendered"
OPERATOR = re.compile(r"ssh-ed25519 \S+ operator")
# name: (address, MB of memory, MB of data)
SIZES = {"lb": ("10.0.0.100", 512, 0), "web-1": ("10.0.0.111", 1024, 0),
         "redis": ("10.0.0.130", 1024, 512), "postgres": ("10.0.0.200", 1024, 1024)}
REDIS_PASSWORD, POSTGRES_PASSWORD = "for-redis-0123456789", "for-postgres-0123456789"
PGPASS = f"10.0.0.200:5432:urldb:sluice:{POSTGRES_PASSWORD}"
SECRETS = {"redis": {"redis_password": REDIS_PASSWORD, "redis_auth": f"requirepass {REDIS_PASSWORD}"},
           "web-1": {"redis_password": REDIS_PASSWORD, "pgpass": PGPASS},
           "postgres": {"postgres_password": POSTGRES_PASSWORD}}


def source(target):
    """What stands in for the repository on a machine: to compile there takes an emulated processor half an hour, and
    tests/docker builds the real Dockerfile. This one hands on what was built, so that all else goes its way."""
    files = {"version": "1.2.3-4-g5678", "deploy/docker/Dockerfile": f"FROM ready-made:{target} AS {target}\n"}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(text), int(time.time())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


def which(name):
    """The target of the Dockerfile that a machine builds."""
    return "redis" if name == "redis" else "sluice"


# A container's template has no cloud-init, and Proxmox mounts the volume. What ds-identify found at this boot goes, too: it
# does not look again while that is there.
MAKE_BARE = """
DEBIAN_FRONTEND=noninteractive apt-get purge -y -qq cloud-init >/dev/null
rm -rf /etc/cloud /var/lib/cloud /run/cloud-init
mkfs.ext4 -q /dev/vda
mkdir -p /var/lib/postgresql
echo '/dev/vda /var/lib/postgresql ext4 defaults 0 2' >>/etc/fstab
systemctl daemon-reload
mount /var/lib/postgresql
"""


class Plant:
    """@param images  called with a name of ready-made images; returns the file that `docker save` made."""

    def __init__(self, lab, image, folder, key, images):
        self.lab, self.image, self.folder, self.key, self.images = lab, image, pathlib.Path(folder), key, images
        self.machines, self.states = {}, {}
        self.client = Client(lab, SIZES["lb"][0])

    def user_data(self, name):
        text = (RENDERED / f"{name}.yaml").read_text()
        return OPERATOR.sub(self.key[1], text)

    def has_cloud_init(self, name):
        return name != "postgres"

    def switch_on(self, *names):
        """Makes these machines, unless they are there: they boot side by side."""
        for name in names:
            if name not in self.machines:
                address, memory_mb, data_mb = SIZES[name]
                self.machines[name] = Machine(
                    self.lab, self.image, self.folder / name, name, address, self.key,
                    self.user_data(name) if self.has_cloud_init(name) else None, memory_mb, data_mb)
                self.machines[name].start()

    def first_boot(self, name):
        """Waits until it is over."""
        begun = time.monotonic()
        self.states[name] = self.machines[name].wait_until_up()
        print(f"{name}: up {time.monotonic() - begun:.0f} s later")
        if not self.has_cloud_init(name):
            self.machines[name].run(MAKE_BARE)

    def delivery(self, name):
        return Delivery(self.machines[name], self.folder)

    def deliver(self, name):
        """As modules/vm and modules/container have it done."""
        delivery = self.delivery(name)
        if not self.has_cloud_init(name):
            delivery.start_cloud_init(self.user_data(name), "1")
        if "path: /opt/sluice/setup.conf" in self.user_data(name):
            self.bring_image(name)
            delivery.source(source(which(name)))
        delivery.files(self.user_data(name))
        delivery.secrets(SECRETS.get(name, {}))

    def bring_image(self, name):
        """What the machine would have built, or pulled."""
        machine = self.machines[name]
        machine.run("cloud-init status --wait >/dev/null || true", limit_s=1800)
        machine.put(self.images(which(name)), "/tmp/image.tar.gz")
        machine.run("docker load --quiet --input /tmp/image.tar.gz; rm /tmp/image.tar.gz", limit_s=900)

    def one(self, name):
        """A machine, ready; made when it is asked for first."""
        self.switch_on(name)
        if name not in self.states:
            self.first_boot(name)
            begun = time.monotonic()
            self.deliver(name)
            print(f"{name}: delivered in {time.monotonic() - begun:.0f} s")
        return self.machines[name]

    def last_words(self):
        return "\n".join(f"{name}:\n{machine.last_words()}" for name, machine in self.machines.items())

    def close(self):
        for machine in self.machines.values():
            machine.kill()


def saved(engine, tag, name, path):
    """An image of the engine as a file, under another name. Returns the file's path."""
    engine.docker("tag", tag, name)
    engine.docker("save", "--output", str(path), name)
    subprocess.run(["gzip", "-1", "--force", str(path)], check=True)
    return path.with_name(path.name + ".gz")
