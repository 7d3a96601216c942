# SPDX-License-Identifier: Apache-2.0
"""Becomes a program under what a systemd unit forbids, where no systemd runs.

usage: sandbox.py UNIT WRITABLE-FOLDER PROGRAM [argument...]

From the unit it takes SystemCallFilter, RestrictAddressFamilies, MemoryDenyWriteExecute, RestrictNamespaces,
CapabilityBoundingSet, NoNewPrivileges, ProtectSystem, ProcSubset and LimitNOFILE, and refuses a unit that lacks one of
them. Stricter than systemd in one thing: a system call outside the filter ends the program with SIGSYS, whatever
SystemCallErrorNumber says, so that none goes unnoticed.

Needs root, python3-seccomp, and systemd-analyze for what the names of groups of calls mean. For User= and PrivateUsers=
the program has a user namespace of its own, in which it is an ordinary user. Leaves out: private /tmp and /dev.
"""
import ctypes
import functools
import os
import resource
import subprocess
import sys

PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
CAP_LAST, CAPABILITY_VERSION_3 = 40, 0x20080522
CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
CLONE_NEW_ANY = 0x7E020000  # every namespace that clone() can make
MS_REC, MS_PRIVATE, MS_BIND = 0x4000, 0x40000, 0x1000
SYS_MOUNT_SETATTR = 442
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
MOUNT_ATTR_RDONLY = 1
PROT_WRITE, PROT_EXEC, SHM_EXEC = 2, 4, 0o100000
USER = 999  # any but 0
libc = ctypes.CDLL(None, use_errno=True)


def settings_of(unit):
    """{name: [values in order]} of a unit's [Service]."""
    found, section = {}, None
    with open(unit, encoding="utf-8") as file:
        for line in (line.strip() for line in file):
            if line.startswith("["):
                section = line
            elif section == "[Service]" and line and not line.startswith("#"):
                name, _, value = line.partition("=")
                found.setdefault(name, []).append(value)
    return found


@functools.cache
def group(name):
    """The calls in a group, as this machine's systemd knows it; groups in groups are followed."""
    told = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True).stdout
    calls = set()
    for line in told.splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            calls |= group(word)
        elif word and not word.startswith("#"):
            calls.add(word)
    return frozenset(calls)


def allowed_calls(filters):
    """What lines of SystemCallFilter leave, the first of which must name what is allowed."""
    assert filters and not filters[0].startswith("~"), "the first SystemCallFilter= is no list of what is allowed"
    allowed = set(group("@default"))
    for line in filters:
        words = line.lstrip("~").split()
        named = set().union(*(group(word) if word.startswith("@") else {word} for word in words))
        allowed = allowed - named if line.startswith("~") else allowed | named
    return allowed


def check(result, what):
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


class MountAttributes(ctypes.Structure):
    _fields_ = [("set", ctypes.c_uint64), ("clear", ctypes.c_uint64), ("propagation", ctypes.c_uint64),
                ("userns", ctypes.c_uint64)]


def set_mount(path, attributes, flags):
    check(libc.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, path.encode(), flags, ctypes.byref(attributes),
                       ctypes.sizeof(attributes)), f"mount_setattr {path}")


def protect_files(writable):
    """ProtectSystem=strict and ProcSubset=pid: everything can be read, and one folder be written."""
    check(libc.unshare(CLONE_NEWNS), "unshare")
    check(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "private mounts")
    check(libc.mount(writable.encode(), writable.encode(), None, MS_BIND | MS_REC, None), writable)
    check(libc.mount(b"proc", b"/proc", b"proc", 0, b"subset=pid,hidepid=invisible"), "/proc")
    set_mount("/", MountAttributes(set=MOUNT_ATTR_RDONLY), AT_RECURSIVE)
    for path in (writable, "/proc"):  # of the latter only what belongs to processes is there
        set_mount(path, MountAttributes(clear=MOUNT_ATTR_RDONLY), AT_RECURSIVE)
    os.chdir(os.getcwd())  # the folder as it is now, not as it was below the mount


def is_refused():
    """Whether this machine lets nobody make namespaces: not root, in a chroot, or in a container that forbids it."""
    child = os.fork()
    if child == 0:
        os._exit(0 if libc.unshare(CLONE_NEWNS) == 0 and libc.unshare(CLONE_NEWUSER) == 0 else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0


def become_ordinary_user():
    """To itself no longer root, with the files of whom it was."""
    uid, gid = os.geteuid(), os.getegid()
    check(libc.unshare(CLONE_NEWUSER), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{USER} {uid} 1"), ("gid_map", f"{USER} {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)
    assert os.geteuid() == USER


def drop_capabilities():
    for capability in range(CAP_LAST + 1):
        check(libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0), f"capability {capability}")
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    check(libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")
    check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")


def load_filter(settings):
    import seccomp  # pylint: disable=import-outside-toplevel; whoever only asks what is allowed does without

    rules = seccomp.SyscallFilter(seccomp.KILL_PROCESS)
    rules.set_attr(seccomp.Attr.CTL_NNP, 0)
    conditional = {"socket", "mmap", "mprotect", "pkey_mprotect", "shmat", "clone", "clone3", "unshare", "setns"}
    calls = allowed_calls(settings["SystemCallFilter"])
    for name in sorted(calls - conditional):
        if seccomp.resolve_syscall(seccomp.Arch(), name) >= 0:  # some are of other processors
            rules.add_rule(seccomp.ALLOW, name)

    families = {getattr(__import__("socket"), family) for family in settings["RestrictAddressFamilies"][0].split()}
    for family in families:
        rules.add_rule(seccomp.ALLOW, "socket", seccomp.Arg(0, seccomp.EQ, family))
    for family in set(range(64)) - families:
        rules.add_rule(seccomp.ERRNO(97), "socket", seccomp.Arg(0, seccomp.EQ, family))  # EAFNOSUPPORT
    both = PROT_WRITE | PROT_EXEC
    for prot in (0, PROT_WRITE, PROT_EXEC):
        rules.add_rule(seccomp.ALLOW, "mmap", seccomp.Arg(2, seccomp.MASKED_EQ, both, prot))
    for name in ("mprotect", "pkey_mprotect"):
        rules.add_rule(seccomp.ALLOW, name, seccomp.Arg(2, seccomp.MASKED_EQ, PROT_EXEC, 0))
    rules.add_rule(seccomp.ALLOW, "shmat", seccomp.Arg(2, seccomp.MASKED_EQ, SHM_EXEC, 0))
    for name in ("clone", "unshare"):
        rules.add_rule(seccomp.ALLOW, name, seccomp.Arg(0, seccomp.MASKED_EQ, CLONE_NEW_ANY, 0))
    rules.add_rule(seccomp.ERRNO(38), "clone3")  # ENOSYS, as systemd does it: its flags lie in memory
    rules.load()


def main():
    unit, writable, command = sys.argv[1], os.path.realpath(sys.argv[2]), sys.argv[3:]
    settings = settings_of(unit)
    expected = {"MemoryDenyWriteExecute": "yes", "RestrictNamespaces": "yes", "CapabilityBoundingSet": "",
                "NoNewPrivileges": "yes", "ProtectSystem": "strict", "ProcSubset": "pid"}
    for name, value in expected.items():
        assert settings.get(name) == [value], f"{unit}: {name}={value} is not there"
    files = min(int(settings["LimitNOFILE"][0]), resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    allowed_calls(settings["SystemCallFilter"])  # asks another program, which is not possible below any more
    protect_files(writable)
    become_ordinary_user()
    drop_capabilities()
    load_filter(settings)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
