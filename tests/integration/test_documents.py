# SPDX-License-Identifier: Apache-2.0
"""Every link from one document of the tree to another leads somewhere, also to the heading that it names.

Leaves out: links to the rest of the world.
"""
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
IN_CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


def documents():
    """All that are no product of a build: those that git knows, or would take."""
    listed = subprocess.run(["git", "-c", f"safe.directory={ROOT}", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
                            cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return sorted(path for path in listed.splitlines() if (ROOT / path).exists())


def links(text):
    return LINK.findall(IN_CODE.sub("``", FENCED.sub("", text)))


def anchors(text):
    """Of the headings, as GitHub makes them: small letters, no punctuation, blanks as dashes; a number where one comes again."""
    found = {}
    for heading in HEADING.findall(FENCED.sub("", text)):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found[name] = found.get(name, 0) + 1
    return {f"{name}-{i}" if i else name for name, times in found.items() for i in range(times)}


def problem(document, target):
    """What is wrong with a link, or None."""
    path, _, anchor = target.partition("#")
    if re.match(r"[a-z]+:", path):
        return None
    there = (ROOT / document).parent / path if path else ROOT / document
    if not there.exists():
        return f"there is no {path}"
    if anchor and anchor not in anchors(there.read_text()):
        return f"{path or document} has no heading #{anchor}"
    return None


@pytest.mark.parametrize("document", documents())
def test_links_lead_somewhere(document):
    found = {target: problem(document, target) for target in links((ROOT / document).read_text())}
    assert not any(found.values()), {target: what for target, what in found.items() if what}


def test_a_link_that_leads_nowhere_is_noticed():
    assert links("[a](b.md) `[c](d.md)`\n```\n[e](f.md)\n```\n[g](#h)") == ["b.md", "#h"]
    assert anchors("# A `b`, c & d\n## Twice\n## Twice\n```\n# none\n```") == {"a-b-c--d", "twice", "twice-1"}
    assert problem("README.md", "docs/none.md") == "there is no docs/none.md"
    assert problem("README.md", "docs/operations.md#none") == "docs/operations.md has no heading #none"
    assert problem("README.md", "docs/operations.md#docker") is None and problem("README.md", "https://none.example/none.md") is None


def test_every_document_can_be_reached_from_the_first_one():
    reached, left = set(), ["README.md"]
    while left:
        document = left.pop()
        if document in reached:
            continue
        reached.add(document)
        for target in links((ROOT / document).read_text()):
            there = ((ROOT / document).parent / target.partition("#")[0]).resolve()
            if there.suffix == ".md" and there.is_file():
                left.append(str(there.relative_to(ROOT)))
            elif there.is_dir() and ":" not in target:
                left.extend(str(path.relative_to(ROOT)) for path in there.glob("*.md"))
    assert reached == set(documents())
