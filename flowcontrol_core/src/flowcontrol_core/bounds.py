"""The bounds of the sandbox; every one of them ends in an ExpressionError, never in a hang."""

from __future__ import annotations

# The longest expression and the longest text template, in characters.
EXPRESSION_CHARACTERS = 1_000
TEMPLATE_CHARACTERS = 20_000
# How deep operators, brackets or tags may be nested.
NESTING = 50
# The longest text and the longest list a filter takes, as its argument too, or gives.
TEXT_CHARACTERS = 10_000
LIST_ITEMS = 1_000
# The largest number, in decimal digits.
NUMBER_DIGITS = 100
# The longest format of the filters and tags for dates: a letter of it becomes up to 40 characters.
DATE_FORMAT_CHARACTERS = 200
# One rendering of a text template: iterations of all loops together, characters, seconds.
ITERATIONS = 10_000
OUTPUT_CHARACTERS = 100_000
RENDER_SECONDS = 5.0
# How deep a list or dictionary that an expression gives may be nested.
VALUE_DEPTH = 100
