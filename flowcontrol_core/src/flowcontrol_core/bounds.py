"""The bounds of the core. Whatever is larger is refused with a message; nothing hangs."""

from __future__ import annotations

from datetime import UTC, datetime

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
# Names, keys and patterns in a document or a file.
NAME_CHARACTERS = 200
NOTE_CHARACTERS = 2_000
CONFIG_VERSION = 2**31 - 1
# The longest duration: about ten years.
DURATION_SECONDS = 3_660 * 86_400
ATTEMPTS = 1_000
FACTOR = 1_000
ERROR_NAMES = 50
# The newest edits of the draft of a flow, which can be undone.
EDITS = 200
# A reader reports at most this many unknown keys of one object.
UNKNOWN_KEYS = 20

# A file of exported flows.
FILE_BYTES = 1024 * 1024
# A document 50 branches deep takes three levels a branch, and its configurations 50 more.
FILE_DEPTH = 250
FILE_ITEMS = 500
# The events of its parser: keys, values, and two of each list and object.
FILE_EVENTS = 100_000
DESCRIPTION_CHARACTERS = 10_000
QUEUE_CHARACTERS = 50
# Who did something: a user or a name.
ACTOR_CHARACTERS = 200
COLUMN_NUMBER = 2**31 - 1
# The largest limit of a flow: each run has a slot of its own, and all of them are read.
LIMIT = 10_000

# The state of a run: its size as JSON (the default of the setting STATE_MAX_BYTES), how deep its
# containers are nested, and the digits of an integer.
STATE_BYTES = 256 * 1024
STATE_DEPTH = 20
STATE_INTEGER_DIGITS = 1_000
# The times that every database stores. Those of MariaDB begin with the year 1000; a day is left at
# either end for time zones.
EARLIEST = datetime(1000, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 30, tzinfo=UTC)

# How deep JSON in a column may be nested: deeper than all that is checked when it is written.
JSON_DEPTH = 250
# Calls in a row that change nothing, of steps without effects: a loop that waits for nothing.
IDLE_CALLS = 10_000

# The history between two checkpoints: the first and last calls of a step, calls with effects or an
# error, entries in all, and the length of a value as JSON.
HISTORY_FIRST_CALLS = 2
HISTORY_LAST_CALLS = 2
HISTORY_KEPT_CALLS = 500
HISTORY_ENTRIES = 1_000
HISTORY_VALUE_CHARACTERS = 500

# The longest backoff, and the longest delay that an action asks for, in seconds.
BACKOFF_SECONDS = 86_400.0
RETRY_AFTER_SECONDS = 366 * BACKOFF_SECONDS

# What an action writes: lines of log a step, and the characters of each; the reason of an abort;
# the summary of a step.
LOG_LINES = 100
LOG_CHARACTERS = 1_000
REASON_CHARACTERS = 1_000
SUMMARY_CHARACTERS = 200
# The key of an action or a trigger, and the lines of a mapping field.
ACTION_KEY_CHARACTERS = 150
MAPPING_LINES = 100
# Longer names are not compared for a suggestion: that is slow, and they are rarely mistyped.
SUGGESTION_CHARACTERS = 60

# An expression (a guard and a condition too) and a text template, in characters.
EXPRESSION_CHARACTERS = 1_000
TEMPLATE_CHARACTERS = 20_000
# How deep the operators and brackets of an expression, or the tags of a template, are nested.
EXPRESSION_NESTING = 50
# The operators of an expression that nest without brackets: all but "and" and "or".
EXPRESSION_OPERATORS = 200
# The longest text and the longest list that a filter takes or returns.
FILTER_CHARACTERS = 10_000
FILTER_ITEMS = 1_000
# The largest number and the largest index of a list, in decimal digits.
NUMBER_DIGITS = 100
INDEX_DIGITS = 9
# The longest format of the filters and tags for dates: a letter of it becomes up to 40 characters.
DATE_FORMAT_CHARACTERS = 200
# One evaluation of an expression or a text template, in steps (``expressions.budget``).
EVALUATION_STEPS = 50_000
# One rendering of a text template: iterations of all loops together, characters.
RENDER_ITERATIONS = 10_000
RENDER_CHARACTERS = 100_000
# A text that secrets are taken out of, how much beside a cut is dropped, and how many secrets.
REDACTED_CHARACTERS = 100_000
REDACTED_MARGIN = 1_000
REDACTED_SECRETS = 1_000
# How deep the value of an expression is nested.
VALUE_DEPTH = 100

# A dry run, in calls of actions and in seconds, and the longest value of a configuration it shows.
DRY_RUN_CALLS = 1_000
DRY_RUN_SECONDS = 10.0
DRY_RUN_VALUE_CHARACTERS = 4_000
