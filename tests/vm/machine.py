# SPDX-License-Identifier: Apache-2.0
"""A virtual machine as Proxmox VE makes it from deploy/terraform/modules/vm: a clone of the image, a seed for cloud-init on
a drive at ide2, a disk for data under its serial number, the port of the guest agent. Or, without user data, what it makes
of modules/container: name, address and root's key are there, and no cloud-init has been told anything.

QEMU emulates the processor: slow, but everywhere. SLUICE_VM_ACCEL=kvm is for machines that can do better.
Leaves out: the network that it is plugged into (lab.py).
"""
import base64
import contextlib
import json
import os
import pathlib
import socket
import subprocess
import time

from shell import Shell
from support.server import DIES_WITH_US
from support.waiting import wait_until

UP_LIMIT_S = 600
ACCEL = os.environ.get("SLUICE_VM_ACCEL", "tcg,thread=multi,tb-size=256")
NETWORK = """\
version: 1
config:
  - type: physical
    name: eth0
    mac_address: '{mac}'
    subnets:
      - type: static
        address: '{address}'
        netmask: '255.255.255.0'
        gateway: '10.0.0.1'
  - type: nameserver
    address: ['10.0.0.1']
    search: ['lan']
"""


class Machine:
    """@param key  (private key's file, public key's line). @param user_data  for cloud-init, which lets `debian` in with
    that key; None: root is let in. @param data_mb  of a second disk."""

    def __init__(self, lab, image, folder, name, address, key, user_data, memory_mb=1024, data_mb=0):
        self.lab, self.image, self.name, self.address = lab, image, name, address
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.memory_mb, self.data_mb, self.kernel_words = memory_mb, data_mb, "root=LABEL=root ro console=ttyS0 quiet"
        self.mac = "bc:24:11:00:00:%02x" % int(address.rsplit(".", 1)[1])
        self.shell = Shell(lab, "root" if user_data is None else "debian", address, key[0])
        self.run, self.put = self.shell.run, self.shell.put
        self.process, self.tap, self.console = None, lab.tap(), self.folder / "console.log"
        self._make_disks()
        self.told = self._make_seed(user_data) if user_data is not None else self._make_credentials(key[1])

    def _make_disks(self):
        self.disk = self.folder / "disk.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(self.image.disk), str(self.disk),
                        "8G"], check=True)
        self.data = self.folder / "data.raw"
        if self.data_mb:
            with open(self.data, "wb") as file:
                file.truncate(self.data_mb << 20)

    def _make_seed(self, user_data):
        """The drive that Proxmox makes of user data and ip_config. Returns QEMU's options."""
        seed = self.folder / "seed.iso"
        files = {"user-data": user_data, "meta-data": f"instance-id: {self.name}-1\n",
                 "network-config": NETWORK.format(mac=self.mac, address=self.address)}
        for name, text in files.items():
            (self.folder / name).write_text(text)
        subprocess.run(["genisoimage", "-quiet", "-joliet", "-rock", "-volid", "cidata", "-output", str(seed),
                        *(str(self.folder / name) for name in files)], check=True, capture_output=True)
        return ["-drive", f"file={seed},if=none,id=ide2,media=cdrom,readonly=on", "-device", "ide-cd,bus=ide.1,drive=ide2"]

    def _make_credentials(self, public_key):
        """What Proxmox writes into a container, by way of systemd-tmpfiles. Returns QEMU's options."""
        network = f"[Match]\nType=ether\n[Network]\nAddress={self.address}/24\nGateway=10.0.0.1\nDNS=10.0.0.1\n"
        host_key = make_key(self.folder)[0].read_text()
        lines = [("f+~ /etc/systemd/network/eth0.network 0644", network), ("d /root/.ssh 0700", ""),
                 ("f+~ /root/.ssh/authorized_keys 0600", public_key + "\n"), ("f+~ /etc/hostname 0644", self.name + "\n"),
                 ("f+~ /etc/ssh/ssh_host_ed25519_key 0600", host_key)]
        text = "".join(f"{line} - - - {base64.b64encode(content.encode()).decode()}\n" for line, content in lines)
        coded = base64.b64encode(text.encode()).decode()
        self.kernel_words += f" systemd.hostname={self.name}"
        return ["-smbios", f"type=11,value=io.systemd.credential.binary:tmpfiles.extra={coded}"]

    def command(self):
        drives = ["-drive", f"file={self.disk},if=none,id=scsi0,discard=unmap", "-device", "scsi-hd,drive=scsi0",
                  *self.told]
        if self.data_mb:
            drives += ["-drive", f"file={self.data},format=raw,if=none,id=virtio1", "-device",
                       "virtio-blk-pci,drive=virtio1,serial=sluice-data"]
        return [*DIES_WITH_US, *self.lab.on_the_switch(), "nice", "-n", "5", "qemu-system-x86_64", "-machine", "pc", "-accel",
                ACCEL, "-cpu", "host" if ACCEL.startswith("kvm") else "max", "-smp", "2", "-m", str(self.memory_mb),
                "-nodefaults", "-no-user-config", "-display", "none", "-kernel", str(self.image.kernel), "-initrd",
                str(self.image.initrd), "-append", self.kernel_words, "-device", "virtio-scsi-pci",
                *drives, "-netdev",
                f"tap,id=net0,ifname={self.tap},script=no,downscript=no", "-device", f"virtio-net-pci,netdev=net0,mac={self.mac}", "-device", "virtio-rng-pci", "-serial", f"file:{self.console}",
                "-device", "virtio-serial-pci", "-chardev", f"socket,path={self.agent_path()},server=on,wait=off,id=qga0",
                "-device", "virtserialport,chardev=qga0,name=org.qemu.guest_agent.0"]

    def agent_path(self):
        return f"/run/sluice-vm-{os.getpid()}-{self.name}.agent"  # short: sun_path has 108 bytes

    def start(self):
        """Switches it on."""
        with open(self.folder / "qemu.log", "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait_until_up(self):
        """Until it can be logged in to and systemd has nothing left to start. Returns what systemd says of its state."""
        wait_until(self.answers, limit_s=UP_LIMIT_S, what=f"{self.name} to let us in")
        return self.run("systemctl is-system-running --wait || true", limit_s=UP_LIMIT_S).strip()

    def answers(self):
        assert self.process.poll() is None, f"{self.name} has ended: {(self.folder / 'qemu.log').read_text()}"
        return self.shell.is_open()

    def last_words(self):
        return self.console.read_text(errors="replace")[-3000:] if self.console.exists() else ""

    def ask_agent(self, what):
        """What the guest agent answers, as Proxmox asks it. None when there is none yet."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent, contextlib.suppress(TimeoutError):
            agent.settimeout(10)
            agent.connect(self.agent_path())
            agent.sendall(json.dumps({"execute": what}).encode() + b"\n")
            with agent.makefile() as lines:
                return json.loads(lines.readline())["return"]
        return None

    def boot_id(self):
        return self.run("cat /proc/sys/kernel/random/boot_id").strip()

    def reboot(self):
        """As its operator does. Returns when it is up again, what systemd says of its state."""
        before = self.boot_id()
        self.run("systemctl reboot --no-block")
        wait_until(lambda: self.shell.connection.poll() is not None, limit_s=UP_LIMIT_S, what=f"{self.name} to go down")
        state = self.wait_until_up()
        assert self.boot_id() != before
        return state

    def shut_down(self):
        """In order; the disk stays."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.run("systemctl poweroff --no-block")
            self.process.wait(120)
        self.kill()

    def kill(self):
        """Pulls the plug."""
        self.shell.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        pathlib.Path(self.agent_path()).unlink(missing_ok=True)


def make_key(folder):
    """A key pair of the tests. Returns the private key's file and the public key's line."""
    path = pathlib.Path(folder) / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "tests", "-f", str(path)], check=True)
    return path, path.with_suffix(".pub").read_text().strip()


@contextlib.contextmanager
def running(machine):
    """Starts it; it ends with the block, whatever happens."""
    begun = time.monotonic()
    machine.start()
    try:
        yield machine
    except BaseException:
        print(f"{machine.name}, {time.monotonic() - begun:.0f} s after its start:\n{machine.last_words()}")
        raise
    finally:
        machine.kill()
