#!/usr/bin/env python3
"""Removes the organization from the stores, one place at a time, and reports which tests notice.

    tools/without-org-id.py            # all mutants
    tools/without-org-id.py --list     # the mutants, without running them
    tools/without-org-id.py 3 17       # some of them

A mutant is one condition on the organization in a query of PostgreSQL, which then always holds, or
one table name or key of redb, which all organizations then share. All mutants are compiled at once,
in a copy of the tree in `target/without-org-id`; the environment variable `MUTANT` says which one
counts.
For each, the tests of organizations and of `store check` run, and if these pass, all tests of the
stores. Some have to fail. The tests need the programs of PostgreSQL.

Ends with 0 if the tests notice every mutant, with 1 if some survive, and with 2 if the tests fail
without a mutant or the copy does not compile.
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
STORES = ROOT / "atlasent-authority" / "src" / "store"

# Tests that hang on a mutant count as failed.
LONGEST = 900

# What is looked for in the queries, and what replaces it. `MUTANT` is a condition that holds if the
# mutant counts.
QUERIES = [
    (r"(?:\b\w+\.)?\borg = \$1\b", r"(\g<0> OR MUTANT)"),
    (r"\borg = ANY\(\$1::text\[\]\)", r"(\g<0> OR MUTANT)"),
    (r"(?<!let )(?:\b\w+\.)?\borg = \w+\.org\b", r"(\g<0> OR MUTANT)"),
    (r"\(org, sequence\) IN \(([ \\\n]+SELECT )event\.org, event\.sequence",
     r"(CASE WHEN MUTANT THEN '' ELSE org END, sequence) "
     r"IN (\1CASE WHEN MUTANT THEN '' ELSE event.org END, event.sequence"),
    (r"WHERE (coalesce\(known[^)]*'local'\)[ \\\n]+= coalesce\(excluded[^)]*'local'\))",
     r"WHERE (\1 OR MUTANT)"),
]
COUNTS_IN_A_QUERY = "coalesce(current_setting('atlasent.mutant', true) = '{}', false)"

TABLES = [
    (r'\bname\(("\w+")\)', r"if MUTANT { Cow::Borrowed(\1) } else { \g<0> }"),
    (r"\(org\.as_str\(\), 0\)\.\.=\(org\.as_str\(\), u64::MAX\)",
     r"""if MUTANT { ("", 0)..=("{", u64::MAX) } else { \g<0> }"""),
    (r"\(org\.id\(\)\.as_str\(\), first\)", r"""if MUTANT { ("", first) } else { \g<0> }"""),
]
COUNTS_IN_CODE = 'std::env::var("MUTANT").is_ok_and(|number| number == "{}")'

# How the servers of the tests learn which mutant counts.
SERVER = ROOT / "tests" / "src" / "postgres" / "mod.rs"
SETTING = '"listen_addresses = \'\'",'
MUTANT_SETTING = '&format!("atlasent.mutant = \'{}\'", std::env::var("MUTANT").unwrap_or_default()),'

# A condition with `OR` uses no index, so tests that compare times do not run.
SKIPPED = ["--skip", "as_fast_as"]

# The tests that run first: those of organizations, and of what `store check` finds.
FIRST = ["organizations::", "no_kind_of_cell", "check::"]

# The files, the patterns, what tells whether a mutant counts, and the names of the tests that run.
STORES_WITH_MUTANTS = [
    (sorted((STORES / "postgres").rglob("*.rs")), QUERIES, COUNTS_IN_A_QUERY,
     ["postgres", "distributed", "registry::", "api_keys::"]),
    ([STORES / "redb" / name for name in ("recent.rs", "tables.rs")], TABLES, COUNTS_IN_CODE,
     ["redb", "file::"]),
]


class Mutant:
    """One replaced place of a file."""

    def __init__(self, path, text, match, replacement, tests):
        self.path = path
        self.line = text.count("\n", 0, match.start()) + 1
        self.found = " ".join(match.group(0).replace("\\\n", " ").split())
        self.place = match.span()
        self.replacement = match.expand(replacement)
        self.tests = tests

    def __str__(self):
        return f"{self.path.relative_to(ROOT)}:{self.line}: {self.found}"


def mutants():
    """All mutants, in the order of their places."""
    found = []
    for paths, patterns, counts, tests in STORES_WITH_MUTANTS:
        for path in paths:
            text = path.read_text()
            places = [(match, replacement) for pattern, replacement in patterns
                      for match in re.finditer(pattern, text)
                      if not is_comment(text, match.start())]
            for match, replacement in sorted(places, key=lambda place: place[0].start()):
                condition = counts.format(len(found) + 1)
                replacement = replacement.replace("MUTANT", condition)
                found.append(Mutant(path, text, match, replacement, tests))
    return found


def is_comment(text, place):
    line = text[text.rfind("\n", 0, place) + 1:place]
    return line.lstrip().startswith("//")


def with_mutants(path, all_mutants):
    """The text of a file of the copy."""
    text = path.read_text()
    for mutant in reversed([mutant for mutant in all_mutants if mutant.path == path]):
        start, end = mutant.place
        text = text[:start] + mutant.replacement + text[end:]
    if path == SERVER:
        assert SETTING in text, f"{path} has no {SETTING}"
        text = text.replace(SETTING, SETTING + MUTANT_SETTING, 1)
    return text


def copy_tree(all_mutants):
    """Copies the files of the working tree. Unchanged ones keep their times, for cargo."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True)
    names = {name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()}
    changed = {SERVER} | {mutant.path for mutant in all_mutants}
    for name in names:
        path, copy = ROOT / name, TREE / name
        content = with_mutants(path, all_mutants).encode() if path in changed else path.read_bytes()
        if not copy.is_file() or copy.read_bytes() != content:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)
    for copy in TREE.rglob("*"):
        if copy.is_file() and str(copy.relative_to(TREE)) not in names:
            copy.unlink()


def run(number, *arguments):
    """Runs tests of the stores in the copy, with a mutant. Returns whether they pass, and what they
    print."""
    command = ["cargo", "test", "--quiet", "--target-dir", str(WORK / "target"),
               "-p", "atlasent-tests", "--test", "stores", *arguments]
    process = subprocess.Popen(
        command, cwd=TREE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
        env={**os.environ, "ATLASENT_REQUIRE_POSTGRES": "1", "MUTANT": str(number)})
    try:
        printed, _ = process.communicate(timeout=LONGEST)
    except subprocess.TimeoutExpired:
        # With the test program, which is a child of cargo.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False, "the tests hang"
    return process.returncode == 0, printed


def failed_tests(printed):
    """The names of the tests that failed, of the list at the end."""
    return sorted(set(re.findall(r"^    (\w+::\S+)$", printed, re.MULTILINE)))


def notice(number, mutant):
    """The name of a test that fails with a mutant. None if all pass."""
    for tests in (FIRST, mutant.tests):
        passes, printed = run(number, "--", *tests, *SKIPPED)
        if not passes:
            return (failed_tests(printed) or printed.strip().splitlines()[-1:])[0]
    return None


def main():
    parser = argparse.ArgumentParser(description="Removes the organization from the stores.")
    parser.add_argument("--list", action="store_true", help="list the mutants")
    parser.add_argument("numbers", nargs="*", type=int, help="the mutants to run: all by default")
    arguments = parser.parse_args()
    all_mutants = mutants()
    chosen = [(number, mutant) for number, mutant in enumerate(all_mutants, 1)
              if not arguments.numbers or number in arguments.numbers]
    if arguments.list:
        for number, mutant in chosen:
            print(f"{number:3}  {mutant}")
        return 0

    copy_tree(all_mutants)
    names = sorted({name for _, mutant in chosen for name in FIRST + mutant.tests})
    for what, tests in (("compile", ["--no-run"]), ("pass without a mutant", ["--", *names, *SKIPPED])):
        passes, printed = run(0, *tests)
        if not passes:
            print(printed, file=sys.stderr)
            print(f"the tests do not {what}", file=sys.stderr)
            return 2
    survivors = 0
    for number, mutant in chosen:
        noticed = notice(number, mutant)
        survivors += noticed is None
        outcome = f"noticed by {noticed}" if noticed else "SURVIVES"
        print(f"{number:3}  {mutant}: {outcome}", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} mutants are noticed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
