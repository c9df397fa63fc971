#!/usr/bin/env python3
"""Removes the organization from the stores, one place at a time, and reports which tests notice.

    tools/without-org-id.py            # all mutants
    tools/without-org-id.py --list     # the mutants, without running them
    tools/without-org-id.py 3 17       # some of them

A mutant is one condition on the organization in a query of PostgreSQL, which is replaced by one
that always holds and has the same parameters, or one table name of redb, which all organizations
then share. Each is compiled in a copy of the tree, in `target/without-org-id`, and the tests of the
stores run on it. They have to fail. The tests need the programs of PostgreSQL.

Ends with 0 if the tests notice every mutant, with 1 if some survive, and with 2 if the tests fail
without a mutant or a mutant does not compile.
"""

import argparse
import os
import pathlib
import re
import signal
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / "target" / "without-org-id"
TREE = WORK / "tree"
STORES = pathlib.Path("atlasent-authority/src/store")

# Test functions that hang on a mutant count as failed.
LONGEST = 900

# What is looked for in the queries, and what replaces it.
QUERIES = [
    (r"(?:\b\w+\.)?\borg = \$1\b", "$1::text IS NOT NULL"),
    (r"\borg = ANY\(\$1::text\[\]\)", "$1::text[] IS NOT NULL"),
    (r"(?<!let )(?:\b\w+\.)?\borg = (\w+)\.org\b", r"\1.org IS NOT NULL"),
    (r"\(org, sequence\) IN \(([ \\\n]+SELECT )event\.org, event\.sequence",
     r"sequence IN (\1event.sequence"),
    (r"WHERE coalesce\(known[^)]*'local'\)[ \\\n]+= coalesce\(excluded[^)]*'local'\)",
     "WHERE true"),
]
TABLES = [(r'\bname\(("\w+")\)', r"Cow::Borrowed(\1)")]

# The files, the patterns, and the names of the tests that run: those of one store.
STORES_WITH_MUTANTS = [
    (sorted((ROOT / STORES / "postgres").rglob("*.rs")), QUERIES,
     ["postgres", "distributed", "registry::", "api_keys::", "check::"]),
    ([ROOT / STORES / "redb" / "tables.rs"], TABLES, ["redb", "file::", "check::"]),
]


class Mutant:
    """One replaced place of a file."""

    def __init__(self, path, text, match, replacement, tests):
        self.path = path.relative_to(ROOT)
        self.line = text.count("\n", 0, match.start()) + 1
        self.found = " ".join(match.group(0).replace("\\\n", " ").split())
        self.text = text[:match.start()] + match.expand(replacement) + text[match.end():]
        self.tests = tests

    def __str__(self):
        return f"{self.path}:{self.line}: {self.found}"


def mutants():
    """All mutants, in the order of their places."""
    found = []
    for paths, patterns, tests in STORES_WITH_MUTANTS:
        for path in paths:
            text = path.read_text()
            places = [(match, replacement) for pattern, replacement in patterns
                      for match in re.finditer(pattern, text)
                      if not is_comment(text, match.start())]
            places.sort(key=lambda place: place[0].start())
            found += [Mutant(path, text, match, replacement, tests)
                      for match, replacement in places]
    return found


def is_comment(text, place):
    line = text[text.rfind("\n", 0, place) + 1:place]
    return line.lstrip().startswith("//")


def copy_tree():
    """Copies the files of the working tree. Unchanged ones keep their times, for cargo."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True)
    names = {name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()}
    for name in names:
        content, copy = (ROOT / name).read_bytes(), TREE / name
        if not copy.is_file() or copy.read_bytes() != content:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)
    for copy in TREE.rglob("*"):
        if copy.is_file() and str(copy.relative_to(TREE)) not in names:
            copy.unlink()


def cargo(*arguments, timeout=None):
    """Runs the tests of the stores in the copy. Returns whether they pass, and what they print."""
    command = ["cargo", "test", "--quiet", "--target-dir", str(WORK / "target"),
               "-p", "atlasent-tests", "--test", "stores", *arguments]
    process = subprocess.Popen(command, cwd=TREE, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, start_new_session=True,
                               env={**os.environ, "ATLASENT_REQUIRE_POSTGRES": "1"})
    try:
        printed, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        # With the test program, which is a child of cargo.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False, "the tests hang"
    return process.returncode == 0, printed


def build(what):
    """Compiles the copy, so that a mutant that does not compile is not taken for a noticed one."""
    is_built, printed = cargo("--no-run")
    if not is_built:
        print(printed, file=sys.stderr)
        print(f"{what} does not compile", file=sys.stderr)
        sys.exit(2)


def first_failure(printed):
    """The name of a test that failed, of the list at the end."""
    failed = re.findall(r"^    (\S+::\S+)$", printed, re.MULTILINE)
    return failed[-1] if failed else printed.strip().splitlines()[-1]


def main():
    parser = argparse.ArgumentParser(description="Removes the organization from the stores.")
    parser.add_argument("--list", action="store_true", help="list the mutants")
    parser.add_argument("numbers", nargs="*", type=int, help="the mutants to run: all by default")
    arguments = parser.parse_args()
    chosen = [(number, mutant) for number, mutant in enumerate(mutants(), 1)
              if not arguments.numbers or number in arguments.numbers]
    if arguments.list:
        for number, mutant in chosen:
            print(f"{number:3}  {mutant}")
        return 0

    copy_tree()
    build("the tree")
    names = sorted({name for _, mutant in chosen for name in mutant.tests})
    passes, printed = cargo("--", *names, timeout=LONGEST)
    if not passes:
        print(printed, file=sys.stderr)
        print("the tests fail without a mutant", file=sys.stderr)
        return 2
    survivors = 0
    for number, mutant in chosen:
        copy = TREE / mutant.path
        original = copy.read_text()
        copy.write_text(mutant.text)
        try:
            build(f"mutant {number} ({mutant})")
            passes, printed = cargo("--", *mutant.tests, timeout=LONGEST)
        finally:
            copy.write_text(original)
        survivors += passes
        noticed = "SURVIVES" if passes else f"noticed by {first_failure(printed)}"
        print(f"{number:3}  {mutant}: {noticed}", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} mutants are noticed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
