# SPDX-License-Identifier: Apache-2.0
"""URLs as people really write them: all that the documentation installed on this machine holds."""
import gzip
import os
import re
import zlib

URL = re.compile(rb"https?://[^\s\"'<>`\x00-\x20]+", re.IGNORECASE)
TRAILING = b".,;:!?)]}*"  # punctuation of the sentence around it
FILE_MAX = 32 << 20


def _read(path):
    try:
        with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
            return file.read(FILE_MAX)
    except (OSError, EOFError, zlib.error):  # not readable, or not what its name says
        return b""


def found_in(folder):
    """Every different http(s) URL in the files below `folder`, in order; compressed files, too. As bytes."""
    found = {}
    for path, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            for match in URL.finditer(_read(os.path.join(path, name))):
                found[match.group().rstrip(TRAILING)] = None
    return list(found)


def made_up(n):
    """`n` more, for a machine that has little documentation: every byte that may stand in a URL, in every place."""
    allowed = bytes(range(0x21, 0x7F)).decode().replace("\\", "")
    urls = []
    for i in range(n):
        a, b = allowed[i % len(allowed)], allowed[(i // len(allowed)) % len(allowed)]
        urls.append(f"http{'s' * (i % 2)}://host-{i}.example/{a}path{b}?{b}q={a}#{a}{b}{i}".encode())
    return urls
