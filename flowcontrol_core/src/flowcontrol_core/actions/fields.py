"""Form fields for configurations: expressions, texts with placeholders, references."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from django import forms
from django.apps import apps
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from flowcontrol_core import bounds
from flowcontrol_core.actions.config import Evaluable
from flowcontrol_core.actions.registry import registry
from flowcontrol_core.errors import ExpressionError
from flowcontrol_core.expressions import Expression, Scope, compile_expression, compile_template
from flowcontrol_core.expressions.spans import Span, marked

# Each field copies it.
_TEXT_AREA = forms.Textarea(attrs={"rows": 4, "cols": 60})


def describe_error(error: ExpressionError) -> str:
    """Return the message of an error in an expression, with the place that is wrong."""
    return marked(error.message, Span(error.source, error.position, error.length))


class _CompiledField(forms.CharField):
    """A text that is compiled: the action gets what it evaluates to."""

    def compile_text(self, text: str) -> Evaluable:
        """Compile a text; raises ExpressionError."""
        raise NotImplementedError

    def clean(self, value: Any) -> str:
        text = str(super().clean(value) or "")
        try:
            self.compile_value(text, {})
        except ExpressionError as error:
            raise ValidationError(describe_error(error), code="expression") from error
        return text

    def compile_value(self, value: Any, cleaned: Mapping[str, Any]) -> Evaluable | None:
        return self.compile_text(value) if value else None


class ExpressionField(_CompiledField):
    """An expression (``object.total > 100``): the action gets its value."""

    compile_text = staticmethod(compile_expression)

    def __init__(self, *, max_length: int = bounds.EXPRESSION_CHARACTERS, **kwargs: Any) -> None:
        super().__init__(max_length=max_length, **kwargs)
        self.widget.attrs.setdefault("data-fc-expression", "")
        self.widget.attrs.setdefault("spellcheck", "false")


class TemplateField(_CompiledField):
    """A text with placeholders (``Dear {{ object.name }}``): the action gets it rendered.

    ``html`` declares the text to be HTML, so that values are escaped.
    """

    widget = _TEXT_AREA

    def __init__(
        self, *, html: bool = False, max_length: int = bounds.TEMPLATE_CHARACTERS, **kwargs: Any
    ) -> None:
        self.html = html
        super().__init__(max_length=max_length, **kwargs)
        self.widget.attrs.setdefault("data-fc-template", "html" if html else "")

    def compile_text(self, text: str) -> Evaluable:
        return compile_template(text, html=self.html)


class _ComputedJson:
    """JSON whose texts are expressions, at any depth."""

    __slots__ = ("places", "value")

    def __init__(self, value: Any) -> None:
        self.value = _map_leaves(_compile_leaf, value)
        expressions = (leaf for _path, leaf in _leaves(self.value) if isinstance(leaf, Expression))
        self.places = {path: span for each in expressions for path, span in each.places.items()}

    def evaluate(self, scope: Scope) -> Any:
        return _map_leaves(
            lambda leaf: leaf.evaluate(scope) if isinstance(leaf, Expression) else leaf, self.value
        )


def _compile_leaf(leaf: Any) -> Any:
    return compile_expression(leaf) if isinstance(leaf, str) else leaf


def _map_leaves(change: Callable[[Any], Any], value: Any) -> Any:
    """Return a JSON value with each value that is not a container replaced."""
    if isinstance(value, dict):
        return {key: _map_leaves(change, item) for key, item in value.items()}
    if isinstance(value, list):
        return [_map_leaves(change, item) for item in value]
    return change(value)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value in a JSON value that is not a container, with its path."""
    if not isinstance(value, dict | list):
        yield path, value
        return
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _leaves(item, f"{path}.{key}" if path else str(key))


class JSONExpressionField(forms.JSONField):
    """A JSON object; where the checkbox named ``evaluate`` is set, its texts are expressions."""

    widget = _TEXT_AREA

    def __init__(self, *, evaluate: str = "evaluate", **kwargs: Any) -> None:
        self.evaluate = evaluate
        super().__init__(**kwargs)

    def prepare_value(self, value: Any) -> Any:
        return "" if value is None else super().prepare_value(value)

    def clean(self, value: Any) -> Any:
        cleaned = super().clean(value)
        if cleaned is not None and not isinstance(cleaned, dict):
            raise ValidationError(_('Enter a JSON object, such as {"key": "value"}.'))
        return cleaned or {}

    def compile_value(self, value: Any, cleaned: Mapping[str, Any]) -> Evaluable | None:
        return _ComputedJson(value) if cleaned.get(self.evaluate) else None


def check_texts(value: Any) -> None:
    """Raise ValidationError, with the place, where a text in a JSON value is not an expression."""
    for path, leaf in _leaves(value):
        try:
            _compile_leaf(leaf)
        except ExpressionError as error:
            raise ValidationError(
                _("%(path)s: %(problem)s To mean the text itself, put it in quotes: %(quoted)s."),
                params={
                    "path": path or "value",
                    "problem": describe_error(error),
                    "quoted": f"'\"{leaf}\"'",
                },
            ) from error


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


def _trigger_choices() -> list[tuple[str, str]]:
    choices = sorted((entry.label, key) for key, entry in registry.triggers.items())
    return [("", "---------"), *((key, label) for label, key in choices)]


class TriggerField(forms.ChoiceField):
    """A reference to a registered trigger, by its key; offered in the order of their labels."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=_trigger_choices, **kwargs)
