"""Django template expressions as staff type them: compiled once, evaluated in a sandbox.

Django's own engine is not safe against the authors of templates, so it is not used here: the names
of an expression are read by own code (``lookup``, ``visibility``), the filters are an allow-list
with bounds (``django_filters``, ``extensions``), and every failure is an ExpressionError.

From a text to its value: ``tokens`` cuts it, ``parser`` makes a tree (``nodes``), ``compiler`` one
function of a scope. ``templates`` does the same for texts with placeholders.
"""

from __future__ import annotations

from flowcontrol_core.expressions.expression import Expression, compile_expression
from flowcontrol_core.expressions.name_checks import check_names
from flowcontrol_core.expressions.scope import Scope
from flowcontrol_core.expressions.templates import compile_template

__all__ = [
    "Expression",
    "Scope",
    "check_names",
    "compile_expression",
    "compile_template",
]
