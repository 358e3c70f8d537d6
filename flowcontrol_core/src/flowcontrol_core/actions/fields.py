"""Form fields for configurations: expressions, texts with placeholders, references."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django import forms
from django.apps import apps
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from flowcontrol_core.actions.config import Evaluable
from flowcontrol_core.actions.registry import registry
from flowcontrol_core.errors import ExpressionError
from flowcontrol_core.expressions import (
    Expression,
    Scope,
    TextTemplate,
    compile_expression,
    compile_template,
)

MAX_EXPRESSION_LENGTH = 1_000
MAX_TEMPLATE_LENGTH = 20_000


def refuse_expression(error: ExpressionError) -> ValidationError:
    """Give what a form says about an expression that is wrong, with the place."""
    where = ""
    if error.length:
        marked = error.source[error.position : error.position + error.length]
        where = f" (at character {error.position + 1}: {marked!r})"
    return ValidationError(f"{error.message}{where}", code="expression")


class ExpressionField(forms.CharField):
    """An expression (``object.total > 100``): the action gets its value."""

    def __init__(self, *, max_length: int = MAX_EXPRESSION_LENGTH, **kwargs: Any) -> None:
        super().__init__(max_length=max_length, **kwargs)
        self.widget.attrs.setdefault("data-fc-expression", "")
        self.widget.attrs.setdefault("spellcheck", "false")

    def clean(self, value: Any) -> str:
        text = str(super().clean(value) or "")
        if text:
            try:
                compile_expression(text)
            except ExpressionError as error:
                raise refuse_expression(error) from error
        return text

    def compile_value(self, value: Any, cleaned: Mapping[str, Any]) -> Expression | None:
        return compile_expression(value) if value else None


class _Rendered:
    """Lets a text template be evaluated like an expression."""

    __slots__ = ("template",)

    def __init__(self, template: TextTemplate) -> None:
        self.template = template

    @property
    def names(self) -> frozenset[tuple[str, ...]]:
        return self.template.names

    def evaluate(self, scope: Scope) -> str:
        return self.template.evaluate(scope)


class TemplateField(forms.CharField):
    """A text with placeholders (``Dear {{ object.name }}``): the action gets it rendered.

    ``html`` says that the text is HTML, so that values are escaped.
    """

    def __init__(
        self, *, html: bool = False, max_length: int = MAX_TEMPLATE_LENGTH, **kwargs: Any
    ) -> None:
        self.html = html
        kwargs.setdefault("widget", forms.Textarea(attrs={"rows": 4, "cols": 60}))
        super().__init__(max_length=max_length, **kwargs)
        self.widget.attrs.setdefault("data-fc-template", "")

    def clean(self, value: Any) -> str:
        text = str(super().clean(value) or "")
        try:
            compile_template(text, html=self.html)
        except ExpressionError as error:
            raise refuse_expression(error) from error
        return text

    def compile_value(self, value: Any, cleaned: Mapping[str, Any]) -> Evaluable | None:
        return _Rendered(compile_template(value, html=self.html)) if value else None


class _ComputedJson:
    """JSON whose texts are expressions, at any depth."""

    __slots__ = ("names", "value")

    def __init__(self, value: Any) -> None:
        found: set[tuple[str, ...]] = set()
        self.value = _compile_texts(value, found)
        self.names = frozenset(found)

    def evaluate(self, scope: Scope) -> Any:
        return _evaluate_texts(self.value, scope)


def _compile_texts(value: Any, found: set[tuple[str, ...]]) -> Any:
    if isinstance(value, dict):
        return {key: _compile_texts(item, found) for key, item in value.items()}
    if isinstance(value, list):
        return [_compile_texts(item, found) for item in value]
    if isinstance(value, str):
        expression = compile_expression(value)
        found.update(expression.names)
        return expression
    return value


def _evaluate_texts(value: Any, scope: Scope) -> Any:
    if isinstance(value, dict):
        return {key: _evaluate_texts(item, scope) for key, item in value.items()}
    if isinstance(value, list):
        return [_evaluate_texts(item, scope) for item in value]
    return value.evaluate(scope) if isinstance(value, Expression) else value


class JSONExpressionField(forms.JSONField):
    """A JSON object; where the checkbox named ``evaluate`` is set, its texts are expressions."""

    def __init__(self, *, evaluate: str = "evaluate", **kwargs: Any) -> None:
        self.evaluate = evaluate
        kwargs.setdefault("widget", forms.Textarea(attrs={"rows": 4, "cols": 60}))
        super().__init__(**kwargs)

    def clean(self, value: Any) -> Any:
        cleaned = super().clean(value)
        if cleaned is not None and not isinstance(cleaned, dict):
            raise ValidationError(_('Enter a JSON object, such as {"key": "value"}.'))
        return cleaned or {}

    def compile_value(self, value: Any, cleaned: Mapping[str, Any]) -> Evaluable | None:
        return _ComputedJson(value) if cleaned.get(self.evaluate) else None


def check_texts(value: Any, path: str = "") -> None:
    """Raise ValidationError, naming the place, where a text in a JSON value is no expression."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    elif isinstance(value, str):
        try:
            compile_expression(value)
        except ExpressionError as error:
            problem = refuse_expression(error)
            raise ValidationError(
                _("%(path)s: %(problem)s To mean the text itself, put it in quotes: %(quoted)s."),
                params={
                    "path": path or "value",
                    "problem": problem.message,
                    "quoted": f"'\"{value}\"'",
                },
            ) from error
    for key, item in items:
        check_texts(item, f"{path}.{key}" if path else str(key))


def _flow_choices() -> Iterator[tuple[str, str]]:
    yield "", "---------"
    flows = apps.get_model("flowcontrol_core", "Flow")
    yield from flows._default_manager.order_by("name").values_list("key", "name")


class FlowField(forms.ChoiceField):
    """A reference to a flow, by its key."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=_flow_choices, **kwargs)

    def valid_value(self, value: Any) -> bool:
        # A flow may be imported or created after the one that refers to it; publish checks that.
        return True


class TriggerField(forms.ChoiceField):
    """A reference to a registered trigger, by its key."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=trigger_choices, **kwargs)


def trigger_choices() -> list[tuple[str, str]]:
    """Give the registered triggers as choices, sorted by label."""
    choices = sorted((str(entry.trigger.label), key) for key, entry in registry.triggers.items())
    return [("", "---------"), *((key, label) for label, key in choices)]


__all__ = [
    "ExpressionField",
    "FlowField",
    "JSONExpressionField",
    "TemplateField",
    "TriggerField",
    "check_texts",
]
