#!/usr/bin/env python3
"""An executable of the solver cvc5, from its Python package: `.ci/cvc5` installs both.

Reads SMT-LIB from standard input, as `cvc5 --lang smt` does, and answers each command when it is
complete. It has no other options, and ignores its arguments.
"""

import sys

import cvc5


def commands(lines):
    """Yields each command that ends on a line. Strings, quoted symbols and comments hold brackets."""
    text, depth, quote = "", 0, None
    for line in lines:
        for character in line:
            text += character
            if quote:
                quote = None if character == quote else quote
            elif character in '"|':
                quote = character
            elif character == ";":
                quote = "\n"
            elif character in "()":
                depth += 1 if character == "(" else -1
                if depth == 0:
                    yield text.strip()
                    text = ""


def fresh():
    parser = cvc5.InputParser(cvc5.Solver())
    return parser.getSolver(), parser.getSymbolManager(), parser


solver, symbols, parser = fresh()
for command in commands(sys.stdin):
    if command.endswith("(reset)"):
        solver, symbols, parser = fresh()
        continue
    try:
        parser.setStringInput(cvc5.InputLanguage.SMT_LIB_2_6, command, "<stdin>")
        print(parser.nextCommand().invoke(solver, symbols), end="", flush=True)
    except RuntimeError as error:
        message = str(error).replace('"', '""').replace("\n", " ")
        print(f'(error "{message}")', flush=True)
