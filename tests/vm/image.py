# SPDX-License-Identifier: Apache-2.0
"""A disk of Debian 12 with cloud-init, as Debian's image `genericcloud` is one, and the kernel and initrd to boot it with.
Made once below the build folder, of Debian's packages (debootstrap, apt): no image is downloaded.

Like the original it has one GPT partition that grows, the small kernel for clouds, systemd-networkd told by netplan,
systemd-resolved, and nothing of the network or of users in it: that comes with the seed. Unlike it, it has no boot loader.

Needs root. Leaves out: booting it (machine.py).
"""
import hashlib
import os
import pathlib
import shutil
import subprocess

SUITE = "bookworm"
MIRROR = os.environ.get("SLUICE_TEST_DEBIAN_MIRROR") or "http://deb.debian.org/debian"
# What Debian's list for genericcloud comes to without man pages, editors and what other clouds need.
PACKAGES = """
linux-image-cloud-amd64 initramfs-tools zstd systemd-sysv systemd-resolved systemd-timesyncd libpam-systemd libnss-myhostname
dbus udev kmod netplan.io cloud-init cloud-guest-utils fdisk e2fsprogs openssh-server sudo apparmor ca-certificates curl
iproute2 iputils-ping procps less python3 locales pciutils uuid-runtime bash-completion apt-utils unattended-upgrades
""".split()
# debootstrap itself does not know what "provides" means.
INSTALL = """
tree=$1 suite=$2 mirror=$3; shift 3
debootstrap --variant=minbase "$suite" "$tree" "$mirror"
cat /etc/resolv.conf >"$tree/etc/resolv.conf"
printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d"; chmod 755 "$tree/usr/sbin/policy-rc.d"
mount -t proc proc "$tree/proc"; mount --bind /dev "$tree/dev"
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
chroot "$tree" apt-get install -y -qq -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-unsafe-io --no-install-recommends "$@"
rm "$tree/usr/sbin/policy-rc.d"
"""
SIZE_MB = 3072
FIRST_MB = 1  # where the partition begins
SOURCES = """\
deb http://deb.debian.org/debian bookworm main
deb http://deb.debian.org/debian bookworm-updates main
deb http://deb.debian.org/debian-security bookworm-security main
"""


def call(*words, **options):
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{' '.join(words)[:200]}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def settle(tree):
    """What the makers of an image do after the packages are there."""
    write(tree / "etc/fstab", "LABEL=root / ext4 defaults,errors=remount-ro 0 1\n")
    write(tree / "etc/apt/sources.list", SOURCES)
    write(tree / "etc/hostname", "localhost\n")
    # Filled at the first boot, so that each machine is somebody else.
    write(tree / "etc/machine-id", "uninitialized\n")
    for key in (tree / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    for unit in ("systemd-networkd", "systemd-resolved", "systemd-timesyncd"):
        call("systemctl", f"--root={tree}", "enable", f"{unit}.service")
    (tree / "etc/resolv.conf").unlink(missing_ok=True)
    (tree / "etc/resolv.conf").symlink_to("/run/systemd/resolve/stub-resolv.conf")
    for name in ("var/cache/apt/archives", "var/lib/apt/lists"):
        shutil.rmtree(tree / name)
        (tree / name / "partial").mkdir(parents=True)


def partitioned(tree, path):
    """A disk with the tree in its one partition."""
    with open(path, "wb") as file:
        file.truncate(SIZE_MB << 20)
    call("sfdisk", "--quiet", str(path), input=f"label: gpt\nstart={FIRST_MB}MiB, type=linux\n")
    # A MiB less at the end, where the second copy of the table is.
    call("mkfs.ext4", "-q", "-F", "-L", "root", "-d", str(tree), "-E", f"offset={FIRST_MB << 20}", str(path),
         f"{SIZE_MB - FIRST_MB - 1}M")


class Image:
    """@param folder  where it is kept from one run to the next."""

    def __init__(self, folder):
        known_by = hashlib.sha256(pathlib.Path(__file__).read_bytes()).hexdigest()[:12]
        self.folder = pathlib.Path(folder) / f"debian-12-{known_by}"
        self.disk, self.kernel, self.initrd = (self.folder / name for name in ("disk.raw", "vmlinuz", "initrd.img"))

    def make(self):
        if self.folder.exists():
            return
        for old in self.folder.parent.glob("debian-12-*"):
            shutil.rmtree(old)
        making = self.folder.with_suffix(".new")
        tree = making / "tree"
        making.mkdir(parents=True)
        try:
            # In a mount namespace of its own: what is mounted goes with it, also when it is killed.
            call("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "sh", "-euc", INSTALL, "sh",
                 str(tree), SUITE, MIRROR, *PACKAGES, timeout=1800)
            settle(tree)
            for name, target in (("vmlinuz", "vmlinuz"), ("initrd.img", "initrd.img")):
                shutil.copy(next((tree / "boot").glob(f"{name}-*")), making / target)
            partitioned(tree, making / "disk.raw")
            shutil.rmtree(tree)
            making.rename(self.folder)
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise
