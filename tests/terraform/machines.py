#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Carries the machines of deploy/terraform out, in chroots of Debian 12, as far as that goes without a real machine.

usage: machines.py WORK-FOLDER USER-DATA-FOLDER [MACHINE...]      (root; downloads Debian once)

For each machine: its packages are there by these names; cloud-init's schema accepts the file; cloud-init itself carries it
out, by the script that starts it in a container, and carries it out again with the same result; the secrets are received;
what the machine is for is set up, twice, with the same result. PostgreSQL runs, Docker is stood in for by a
recorder of its arguments, MongoDB and k6 are not had. To one of them `tofu apply` delivers over SSH ($TOFU, or tofu).

Everything after the download happens in namespaces of its own (mounts, network, processes, host name): neither the
firewall nor a kernel setting of the machine that this runs on is touched. Leaves out: boot, systemd, the network's set-up.
"""
import json
import os
import shlex
import shutil
import subprocess
import sys

import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
START = os.path.join(ROOT, "deploy", "terraform", "modules", "container", "start-cloud-init")
LIMIT_S = 900
SECRETS = {
    "postgres": {"postgres_password": "first-password-of-the-test"},
    "mongo": {"mongo_password": "first-password-of-the-test"},
    "redis": {"redis_password": "first-password-of-the-test", "redis_auth": "requirepass first-password-of-the-test"},
    "web-1": {"redis_password": "first-password-of-the-test", "pgpass": "10.0.0.200:5432:urldb:sluice:of-the-test-too-1"},
}


# systemctl only enables: nothing is to be started. `fails` is a command that must not succeed (`!` would not end the script).
PROLOGUE = """set -eu
export LC_ALL=C.UTF-8 SYSTEMD_OFFLINE=1
exec 9>/tmp/trace; BASH_XTRACEFD=9; set -x
fails() { if "$@"; then echo "should have failed: $*" >&2; exit 1; fi; }
"""

# What a real machine has, or the test needs: packages to be signed.
TOOLS = {"mongo": ["gpg-agent"], "load": ["gpg-agent"], "web-1": ["sudo"]}


class Failed(Exception):
    pass


def check(condition, message):
    if not condition:
        raise Failed(message)


def call(command, **options):
    """Output of a command that must succeed."""
    done = subprocess.run(command, check=False, text=True, errors="replace", timeout=LIMIT_S, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL if "input" not in options else None, **options)
    check(done.returncode == 0, f"{shlex.join(command)[:120]}…: status {done.returncode}\n{done.stdout[-4000:]}")
    return done.stdout


def mirror():
    """Debian's mirror, as this machine's apt knows it."""
    found = call(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages", "Label: Debian"])
    return found.split()[0] if found.split() else "http://deb.debian.org/debian"


def make_base(work):
    base = os.path.join(work, "bookworm")
    if os.path.exists(os.path.join(base, "done")):
        return base
    shutil.rmtree(base, ignore_errors=True)
    print("downloading Debian 12", flush=True)
    call(["debootstrap", "--variant=minbase", "--include=ca-certificates,systemd,systemd-sysv,iproute2,procps,openssh-server",
          "bookworm", base, mirror()])
    write(base, "/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)  # packages start nothing here
    open(os.path.join(base, "done"), "w", encoding="utf-8").close()
    return base


def write(root, path, text, mode=0o644):
    full = root + path
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(full, mode)


def read(root, path):
    with open(root + path, encoding="utf-8") as file:
        return file.read()


class Machine:
    """One chroot: a layer over the base. Mounts are in this process's namespace and end with it."""

    def __init__(self, work, base, name, user_data):
        self.name, self.text, self.data = name, user_data, yaml.safe_load(user_data)
        folder = os.path.join(work, "machines", name)
        shutil.rmtree(folder, ignore_errors=True)
        self.root = os.path.join(folder, "root")
        parts = {part: os.path.join(folder, part) for part in ("upper", "overlay", "root")}
        for path in parts.values():
            os.makedirs(path)
        call(["mount", "-t", "overlay", "overlay", "-o",
              f"lowerdir={base},upperdir={parts['upper']},workdir={parts['overlay']}", self.root])
        archives = os.path.join(work, "archives")
        os.makedirs(archives + "/partial", exist_ok=True)
        for source, target in ((archives, "/var/cache/apt/archives"), ("/dev", "/dev"), ("/sys", "/sys")):
            call(["mount", "--bind", source, self.root + target])
        call(["mount", "-o", "remount,bind,ro", self.root + "/sys"])
        call(["mount", "-t", "tmpfs", "tmpfs", self.root + "/run"])
        shutil.copy("/etc/resolv.conf", self.root + "/etc/resolv.conf")
        self.archives = archives

        self.folder, self.loop = folder, None
        if "fs_setup" in self.data:
            self.plug_in()

    def plug_in(self):
        """An empty disk under the name that the VM's second one has, in a /dev of its own."""
        name, dev = self.data["fs_setup"][0]["device"], self.root + "/dev"
        image = os.path.join(self.folder, "disk")
        with open(image, "wb") as file:
            file.truncate(64 << 20)
        self.loop = call(["losetup", "--find", "--show", image]).strip()
        call(["umount", dev])
        call(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", dev])
        for path in ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", self.loop):
            status = os.stat(path)
            os.mknod(self.root + path, status.st_mode, status.st_rdev)
            os.chmod(self.root + path, 0o666)
        os.symlink("/proc/self/fd", dev + "/fd")
        self.link = self.root + name
        os.makedirs(os.path.dirname(self.link))
        os.symlink(self.loop, self.link)

    def end(self):
        subprocess.run(["umount", "-R", "-l", self.root], check=False)
        if self.loop:
            subprocess.run(["losetup", "--detach", self.loop], check=False)

    def with_network(self, command):
        return call(["chroot", self.root, "env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", *command])

    def alone(self, script):
        """Runs a shell script in the chroot, with a network, processes, a host name and kernel settings of its own."""
        write(self.root, "/tmp/script", PROLOGUE + script)
        setup = f"""
set -eu
root={shlex.quote(self.root)}
mount -t proc proc "$root/proc"
mkdir -p "$root/run/vm"
for name in overcommit_memory swappiness; do cat /proc/sys/vm/$name >"$root/run/vm/$name"; done
mount --bind "$root/run/vm" "$root/proc/sys/vm"
pages=/sys/kernel/mm/transparent_hugepage
if [ -d "$root$pages" ]; then mkdir -p "$root/run/pages"; cp $pages/enabled "$root/run/pages/"; mount --bind "$root/run/pages" "$root$pages"; fi
ip link set lo up
exec chroot "$root" bash /tmp/script
"""
        try:
            return call(["unshare", "--mount", "--net", "--uts", "--pid", "--fork", "--kill-child", "sh", "-c", setup])
        except Failed as error:
            raise Failed(f"{error}\nlast commands:\n{read(self.root, '/tmp/trace')[-1500:]}") from None

    def files(self):
        """Path -> entry of write_files."""
        return {entry["path"]: entry for entry in self.data["write_files"]}

    def sums(self):
        """What the machine's own files hold, and who may do what with them."""
        paths = [*self.files(), "/etc/fstab", "/etc/nginx/nginx.conf", "/etc/sluice/secrets"]
        return self.alone("for path in " + " ".join(map(shlex.quote, paths))
                          + '; do [ ! -e "$path" ] || find "$path" -printf "%p %m %u %s\\n" -type f -exec sha256sum {} +; done')


def packages(machine):
    machine.with_network(["apt-get", "update", "-qq"])
    machine.with_network(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "cloud-init", *machine.data["packages"], *TOOLS.get(machine.name, [])])
    # What follows has no network: nothing is left to be asked there.
    for path in ("/etc/apt/sources.list", *(f"/etc/apt/sources.list.d/{name}" for name in
                                            os.listdir(machine.root + "/etc/apt/sources.list.d"))):
        write(machine.root, path, "")


def seed(machine, instance):
    write(machine.root, "/var/lib/cloud/seed/nocloud/user-data", machine.text)
    write(machine.root, "/var/lib/cloud/seed/nocloud/meta-data", f"instance-id: {instance}\nlocal-hostname: {machine.name}\n")


def cloud_init(machine, instance):
    """Lets cloud-init act; returns what it printed. What it calls an error is one."""
    seed(machine, instance)
    shutil.copy(START, machine.root + "/tmp/start")
    output = machine.alone("sh /tmp/start 2>&1; cat /var/log/cloud-init-output.log 2>/dev/null || true")
    errors = json.loads(read(machine.root, "/run/cloud-init/result.json"))["v1"]["errors"]
    check(not errors, f"cloud-init: {errors}\n{output[-3000:]}")
    return output


def files_are_there(machine):
    for path, entry in machine.files().items():
        full = machine.root + path
        check(os.path.exists(full), f"{path} was not written")
        wanted = int(entry.get("permissions", "0644"), 8)
        mode = os.stat(full).st_mode & 0o7777
        check(mode == wanted, f"{path} has the mode {mode:o}, not {wanted:o}")
        if "encoding" not in entry:
            check(read(machine.root, path) == entry.get("content", ""), f"{path} does not hold what it should")
        if full.endswith(("-setup", "-receive", "-source")) and "sbin" in full:
            call(["sh", "-n", full])


def update(machine):
    """A changed file is taken over in place by sluice-update, a deferred one and another; the old one brings all back."""
    before = machine.sums()
    changed = machine.text.replace("# Who may reach", "# Now who may reach").replace("# Takes the secrets", "# Now takes the secrets")
    for text, mark in ((changed, "# Now "), (machine.text, "# ")):
        write(machine.root, "/tmp/update.yaml", text)
        machine.alone("sluice-update /tmp/update.yaml")
        check(mark + "who may reach" in read(machine.root, "/etc/nftables.conf").replace("# Who", "# who")
              and mark + "takes the secrets" in read(machine.root, "/usr/local/sbin/sluice-receive").replace("# Takes", "# takes"),
              "sluice-update has not taken the changed files over")
    check(machine.sums() == before, "the files are not those of before")


def firewall(machine):
    """The rules load, load again, and are the machine's only ones."""
    machine.alone("nft -f /etc/nftables.conf; nft list ruleset >/tmp/once; nft -f /etc/nftables.conf; nft list ruleset >/tmp/twice\n"
                  "cmp /tmp/once /tmp/twice; grep -q 'tcp dport 22' /tmp/once; [ \"$(grep -c '^table' /tmp/once)\" = 1 ]")


def receive(machine, secrets):
    lines = "".join(f"{name} {line}\n" for name, line in secrets.items())
    write(machine.root, "/tmp/secrets", lines, 0o600)
    machine.alone("/usr/local/sbin/sluice-receive /tmp/secrets")
    folder = machine.root + "/etc/sluice/secrets"
    owner = {"web-1": 10001, "redis": 999}.get(machine.name, 0)
    for name, line in secrets.items():
        check(read(folder, "/" + name) == line + "\n", f"the secret {name} has not arrived")
        status = os.stat(f"{folder}/{name}")
        check(status.st_mode & 0o7777 == 0o400 and status.st_uid == owner, f"others may read the secret {name}")


def lb(machine):
    machine.alone("mkdir -p /var/log/nginx\nsluice-setup\nsluice-setup\nnginx -T 2>&1 | tee /tmp/nginx >/dev/null\n"
                  "grep -q 'worker_connections 16384;' /tmp/nginx\n"
                  "[ ! -e /etc/nginx/sites-enabled/default ]\n[ \"$(grep -c 'server 10.0.0.11' /tmp/nginx)\" = 2 ]")


def postgres(machine):
    """A real PostgreSQL: the tuning is in force, the web servers get in with the password, and nobody else."""
    first, second = "first-password-of-the-test", "second-password-of-the-test"
    run = """
ip addr add 10.0.0.200/32 dev lo; ip addr add 10.0.0.111/32 dev lo; ip addr add 10.0.0.150/32 dev lo
trap 'pg_ctlcluster --mode immediate 15 main stop' EXIT
pg_ctlcluster 15 main start
from() { ip route replace local 10.0.0.200 dev lo table local src "$1"; }
ask() { PGPASSWORD="$1" psql -h 10.0.0.200 -U sluice -d urldb -XAtc "$2"; }
sluice-setup; sluice-setup
"""
    machine.alone(run + f"""
from 10.0.0.111
[ "$(ask {first} 'SHOW shared_buffers')" = 512MB ]
[ "$(ask {first} 'SHOW max_connections')" = 100 ]
[ "$(ask {first} 'SHOW server_encoding')" = UTF8 ]
[ "$(ask {first} 'CREATE TABLE here (); DROP TABLE here; SELECT 1' | tail -1)" = 1 ]
fails ask another-password 'SELECT 1' 2>/tmp/wrong; grep -q 'password authentication failed' /tmp/wrong
from 10.0.0.150
fails ask {first} 'SELECT 1' 2>/tmp/stranger; grep -q 'no pg_hba.conf entry' /tmp/stranger
administer() {{ (cd /; runuser -u postgres -- psql -XAtc "$1"); }}
[ -z "$(administer 'SELECT error FROM pg_hba_file_rules WHERE error IS NOT NULL')" ]
# a log that holds everything, as one of what is slow or fails might hold it
administer 'ALTER SYSTEM SET log_min_duration_statement = 0'; administer "ALTER SYSTEM SET log_statement = 'all'"; administer 'SELECT pg_reload_conf()'
printf 'postgres_password {second}\\n' >/tmp/again; sluice-receive /tmp/again; sluice-setup
grep -rq 'REVOKE CONNECT' /var/log/postgresql
from 10.0.0.111
[ "$(ask {second} 'SELECT 2')" = 2 ]
fails ask {first} 'SELECT 1' 2>/dev/null
fails grep -rq {second} /var/log/postgresql
""")


RECORDER = """#!/bin/sh
# Stands in for docker, docker-compose and systemctl: writes down what it is asked. It has the image that it made or pulled,
# and its container is healthy the second time that somebody asks.
printf '%s %s\\n' "${0##*/}" "$*" >>/tmp/asked
case "${0##*/} $*" in
"docker image inspect "*) [ -e /tmp/image ] ;;
"docker build "* | "docker pull "*) touch /tmp/image ;;
"docker-compose "*" ps --quiet") echo c0ffee ;;
"docker inspect --format {{.State.Health.Status}} c0ffee") if [ -e /tmp/healthy ]; then echo healthy; else touch /tmp/healthy; echo starting; fi ;;
esac
"""


def docker(machine):
    """The compose file is read by Debian's docker-compose; what is built and started is what was asked for."""
    target = {"web-1": "sluice", "redis": "redis"}[machine.name]
    shown = machine.alone("cd /opt/sluice; docker-compose --file compose.yaml config")
    service = yaml.safe_load(shown)["services"][target if target == "redis" else "sluice"]
    port = {"web-1": (80, 5000), "redis": (6379, 6379)}[machine.name]
    check(any(str(port[0]) in str(entry) and str(port[1]) in str(entry) for entry in service["ports"]), f"no port {port}:\n{shown}")
    check(service["read_only"] is True and service["cap_drop"] == ["ALL"], f"the container may do too much:\n{shown}")
    for name in ("docker", "docker-compose"):
        write(machine.root, f"/usr/local/bin/{name}", RECORDER, 0o755)
    write(machine.root, "/tmp/source/version", "1.2.3-test")
    write(machine.root, "/tmp/source/deploy/docker/Dockerfile", "")
    if machine.loop:  # nothing starts without its disk
        os.rename(machine.link, machine.link + ".out")
        machine.alone("fails sluice-setup 2>/tmp/unmounted; grep -q 'not mounted' /tmp/unmounted; [ ! -e /tmp/asked ]")
        os.rename(machine.link + ".out", machine.link)
    asked = machine.alone("""
fails sluice-setup 2>/tmp/early; grep -q 'not there yet' /tmp/early
tar -czf /opt/sluice/source.tar.gz -C /tmp/source .
sluice-setup; sluice-setup
printf 'redis_password second-password-of-the-test\\n' >/tmp/again; sluice-receive /tmp/again >&2; sluice-setup
printf another >/tmp/source/version; tar -czf /opt/sluice/source.tar.gz -C /tmp/source .
sluice-setup
cat /tmp/asked""")
    image = {"sluice": "sluice:local", "redis": "sluice-redis:local"}[target]
    build = (f"docker build --quiet --tag {image} --target {target} --build-arg VERSION=%s "
             "--file source/deploy/docker/Dockerfile source")
    there, compose = f"docker image inspect {image}", "docker-compose --file compose.yaml "
    start, healthy = compose + "up --detach --remove-orphans", "docker inspect --format {{.State.Health.Status}} c0ffee"
    wait, prune = [compose + "ps --quiet", healthy], "docker image prune --force"
    lines = [line.rstrip() for line in asked.splitlines() if line.startswith("docker")]
    wanted = [there, build % "1.2.3-test", start, *wait, healthy, prune,  # built, started, waited for
              there, start, *wait, prune,  # a boot: nothing is built
              there, start + " --force-recreate", *wait, prune,  # another password
              there, build % "another", start, *wait, prune]  # another source
    check(lines == wanted, f"asked of Docker:\n{asked}")


WRAPPER = """
variable "secrets" {
  type      = map(string)
  ephemeral = true
}
variable "revision" {
  type = number
}
variable "host_key" {
  type    = string
  default = null
}
module "deliver" {
  source           = "../../deploy/terraform/modules/deliver"
  name             = "web-1"
  machine          = "5111"
  address          = "10.0.0.111"
  user             = "debian"
  user_data        = file("user-data")
  source_ref       = "HEAD"
  secrets          = var.secrets
  secrets_revision = var.revision
  host_key         = var.host_key
}
"""


def deliver(machine):
    """modules/deliver for real: `tofu apply` brings source, files and secrets over SSH, as the user with sudo; a second one
    has nothing to do; a revision brings another password; no password is in the state or on the way. Whoever shows another
    host key than the one that is expected gets none."""
    work = os.path.join(os.path.dirname(os.path.dirname(machine.folder)), "deliver")
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    for name, text in (("main.tf", WRAPPER), ("user-data", machine.text)):
        write(work, "/" + name, text)
    call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", work + "/key"])
    write(machine.root, "/usr/local/sbin/systemctl", RECORDER, 0o755)
    write(machine.root, "/run/cloud-init/result.json", '{"v1": {"errors": []}}')
    with open(work + "/key.pub", encoding="ascii") as file:
        write(machine.root, "/home/debian/.ssh/authorized_keys", file.read())
    script = f"""
set -eu
root={shlex.quote(machine.root)}; cd {shlex.quote(work)}
mount -t proc proc "$root/proc"; mkdir -p "$root/run/vm" "$root/run/sshd"
mount --bind "$root/run/vm" "$root/proc/sys/vm"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ip link set lo up; ip addr add 10.0.0.111/32 dev lo
chroot "$root" chown -R debian:debian /home/debian/.ssh
chroot "$root" rm -rf /etc/sluice/secrets /opt/sluice/source.tar.gz /tmp/asked
chroot "$root" /usr/sbin/sshd -o PidFile=none
mount -t proc proc /proc
eval "$(ssh-agent -s)" >/dev/null; ssh-add -q key
export CHECKPOINT_DISABLE=1 TF_IN_AUTOMATION=1; unset TF_CLI_CONFIG_FILE
secret() {{ TF_VAR_secrets="{{redis_password = \\"$1\\", pgpass = \\"10.0.0.200:5432:urldb:sluice:$1\\"}}"; export TF_VAR_secrets; }}
tofu={shlex.quote(os.environ.get("TOFU") or shutil.which("tofu") or "tofu")}
$tofu init -no-color >/dev/null
secret first-password-of-the-test; export TF_VAR_revision=1
$tofu plan -no-color -out=plan; $tofu show -json plan; mkdir files; cd files; python3 -m zipfile -e ../plan .; find . -type f -exec cat {{}} +; cd ..
$tofu apply -no-color -auto-approve
$tofu plan -no-color -detailed-exitcode >/dev/null
export TF_VAR_revision=2
ssh-keygen -q -t ecdsa -N '' -f stranger; TF_VAR_host_key="$(cut -d' ' -f1,2 stranger.pub)"; export TF_VAR_host_key
secret strangers-password-of-the-test
status=0; timeout --signal=INT 20 $tofu apply -no-color -auto-approve || status=$?
[ $status -ne 0 ]
grep -rq strangers-password "$root/etc/sluice" "$root/home/debian" && exit 1
TF_VAR_host_key="$(cut -d' ' -f1,2 "$root/etc/ssh/ssh_host_ecdsa_key.pub")"
secret second-password-of-the-test
$tofu apply -no-color -auto-approve
"""
    told = call(["unshare", "--mount", "--net", "--uts", "--pid", "--fork", "--kill-child", "sh", "-c", script])
    with open(work + "/terraform.tfstate", encoding="utf-8") as file:
        check("-of-the-test" not in file.read() + told, "a password is in the state or was printed")
    secrets = machine.root + "/etc/sluice/secrets"
    check(read(secrets, "/redis_password") == "second-password-of-the-test\n", "the second password has not arrived")
    check(os.stat(secrets + "/pgpass").st_uid == 10001, "the secret is not its reader's")
    names = call(["tar", "-tzf", machine.root + "/opt/sluice/source.tar.gz"]).splitlines()
    check("meson.build" in names and "version" in names, f"the source is not complete: {len(names)} files")
    left = [path for path in ("/tmp/sluice-source.tar.gz", "/tmp/sluice-user-data.yaml", "/home/debian/.sluice-deliver")
            if os.path.exists(machine.root + path)]
    check(not left, f"left behind: {left}")
    check(read(machine.root, "/tmp/asked").count("systemctl restart sluice-setup.service") == 2, "the service was not started")


def apt_source(machine):
    """add-apt-source believes the named key and no other, and changes nothing the second time."""
    machine.alone("""
export GNUPGHOME=/tmp/gpg; mkdir -m 700 -p $GNUPGHOME
for who in maker stranger; do gpg --batch --quiet --passphrase '' --quick-generate-key $who@test ed25519 sign never; done
print() { gpg --list-keys --with-colons "$1" | sed -n 's/^fpr:*//p' | tr -d : | head -1; }
maker=$(print maker@test); stranger=$(print stranger@test)
mkdir -p /tmp/repository/dists/stable/main/binary-amd64; cd /tmp/repository
: >dists/stable/main/binary-amd64/Packages
sum() { sha256sum "$1" | cut -d' ' -f1; }
printf 'Suite: stable\\nComponents: main\\nArchitectures: amd64\\nDate: %s\\nSHA256:\\n %s 0 main/binary-amd64/Packages\\n' \\
    "$(date -Ru)" "$(sum dists/stable/main/binary-amd64/Packages)" >dists/stable/Release
gpg --batch --quiet --local-user maker@test --clearsign --output dists/stable/InRelease dists/stable/Release
gpg --armor --export stranger@test maker@test >key
fails add-apt-source test file:///tmp/repository/key 0000000000000000000000000000000000000000 file:/tmp/repository stable main 2>/tmp/no
grep -q 'has no key' /tmp/no; [ ! -e /etc/apt/sources.list.d/test.list ]
add-apt-source test file:///tmp/repository/key $maker file:/tmp/repository stable main
gpg --show-keys --with-colons /etc/apt/keyrings/test.gpg >/tmp/kept; grep -q $maker /tmp/kept; fails grep -q $stranger /tmp/kept
sha256sum /etc/apt/keyrings/test.gpg /etc/apt/sources.list.d/test.list >/tmp/sums
rm key; add-apt-source test file:///tmp/repository/key $maker file:/tmp/repository stable main; sha256sum --quiet -c /tmp/sums
rm /etc/apt/sources.list.d/test.list
""")


PURPOSE = {"lb": [lb], "postgres": [postgres], "web-1": [docker, deliver], "redis": [docker], "mongo": [apt_source], "load": [apt_source]}


def host_keys(machine):
    folder = machine.root + "/etc/ssh"
    return {name: read(folder, "/" + name) for name in os.listdir(folder) if name.endswith("_key.pub")}


def prove(machine):
    packages(machine)
    write(machine.root, "/tmp/user-data", machine.text)
    machine.with_network(["cloud-init", "schema", "--config-file", "/tmp/user-data"])
    write(machine.root, "/tmp/broken", machine.text.replace("package_update: true", "package_update: [maybe]"))
    try:
        machine.with_network(["cloud-init", "schema", "--config-file", "/tmp/broken"])
        raise AssertionError
    except Failed:
        pass
    except AssertionError:
        check(False, "cloud-init's schema accepts nonsense")
    keys = host_keys(machine)
    cloud_init(machine, "first")
    before, keys = set(keys.values()), host_keys(machine)
    kept = before & set(keys.values())
    check(before and kept == (set() if "users" in machine.data else before), "a VM has host keys of its template, or a container others")
    files_are_there(machine)
    waits = not os.path.exists(machine.root + "/etc/sluice/secrets/.complete")
    check(waits == (machine.name in SECRETS), "it waits for secrets that it needs not, or does not for those that it needs")
    before = machine.sums()
    if machine.loop:
        machine.alone("mount /srv/redis; echo precious >/srv/redis/data")
    cloud_init(machine, "first")  # a boot
    cloud_init(machine, "second")  # a changed file
    check(machine.sums() == before, "the second time something is different")
    check(host_keys(machine) == keys, "the second time it has other host keys")
    if machine.loop:
        told = machine.alone("mount /srv/redis; findmnt -no FSTYPE,OPTIONS /srv/redis; cat /srv/redis/data")
        check("ext4" in told and "noatime" in told and "precious" in told, f"the disk was not kept, or not as an ext4: {told}")
    update(machine)
    firewall(machine)
    receive(machine, SECRETS.get(machine.name, {}))
    for step in PURPOSE[machine.name]:
        step(machine)


def main():
    if len(sys.argv) < 3 or os.geteuid() != 0:
        sys.exit("usage (as root): machines.py WORK-FOLDER USER-DATA-FOLDER [MACHINE...]")
    if "--unshared" not in sys.argv:
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv, "--unshared"])
    arguments = [argument for argument in sys.argv[1:] if argument != "--unshared"]
    work, folder = map(os.path.abspath, arguments[:2])
    wanted = arguments[2:] or list(PURPOSE)
    base, failed = make_base(work), 0
    for name in wanted:
        with open(os.path.join(folder, name + ".yaml"), encoding="utf-8") as file:
            machine = Machine(work, base, name, file.read())
        try:
            prove(machine)
            print(f"ok: {name}", flush=True)
        except (Failed, subprocess.TimeoutExpired) as error:
            failed += 1
            print(f"FAILED: {name}: {error}", flush=True)
        finally:
            machine.end()
    print(f"{len(wanted) - failed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
