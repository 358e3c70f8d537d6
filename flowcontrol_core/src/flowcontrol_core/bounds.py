"""The bounds of what is read and evaluated: each of them ends in an error, never in a hang."""

from __future__ import annotations

# A document, its steps and their retry policies.
STEPS = 2_000
# How many branches deep a step may stand.
BRANCH_DEPTH = 50
# The size as compact JSON in UTF-8.
DOCUMENT_BYTES = 1024 * 1024
# How deep lists and objects may nest inside one configuration.
CONFIG_DEPTH = 50
# Larger numbers are not read back alike by every database and JSON reader.
INTEGER_BITS = 1_024
KEY_CHARACTERS = 200
NOTE_CHARACTERS = 2_000
CONFIG_VERSION = 2**31 - 1
# The longest duration: about ten years.
DURATION_SECONDS = 3_660 * 86_400
ATTEMPTS = 1_000
FACTOR = 1_000
ERROR_NAMES = 50
# A reader reports at most this many unknown keys of one object.
UNKNOWN_KEYS = 20

# A file of exported flows.
FILE_BYTES = 1024 * 1024
# A document 50 branches deep takes three levels a branch, and its configurations 50 more.
FILE_DEPTH = 250
FILE_ITEMS = 500
DESCRIPTION_CHARACTERS = 10_000
QUEUE_CHARACTERS = 50
COLUMN_NUMBER = 2**31 - 1
# The largest limit of a flow: each run has a slot of its own, and all of them are read.
LIMIT = 10_000

# An expression (a guard and a condition too) and a text template, in characters.
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
