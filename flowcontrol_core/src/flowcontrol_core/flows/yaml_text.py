"""YAML from outside: read with bounds on its size, depth and references."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml
from django.utils.translation import gettext

from flowcontrol_core import bounds
from flowcontrol_core.errors import DocumentError, EditError, Problem


def load(text: str) -> Any:
    """Return the values of one YAML document; raises DocumentError, with line and column.

    Anchors and aliases are refused: with them a few lines unfold without end.
    """
    if len(text.encode(errors="surrogatepass")) > bounds.FILE_BYTES:
        message = gettext("The file is larger than %(size)s KiB; import it in parts.")
        raise _error(None, message % {"size": f"{bounds.FILE_BYTES // 1024:,}"})
    try:
        _refuse_excess(text)
        # A SafeLoader, which builds plain values only.
        return yaml.load(text, Loader=_Loader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        what = ", ".join(filter(None, [error.context, error.problem]))
        raise _invalid(error.problem_mark, what) from error
    except (yaml.YAMLError, ValueError) as error:
        raise _invalid(None, str(error)) from error


def dump(data: Any) -> str:
    """Return plain values as YAML; raises EditError where ``load`` would refuse its size."""
    text = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    if len(text.encode()) > bounds.FILE_BYTES:
        message = gettext("The export is larger than %(size)s KiB; export fewer flows at once.")
        raise EditError(message % {"size": f"{bounds.FILE_BYTES // 1024:,}"})
    return text


def _refuse_excess(text: str) -> None:
    """Read the parser's events, which takes neither recursion nor memory."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            message = gettext("Anchors (&) and aliases (*) are not allowed; write the value out.")
            raise _error(event.start_mark, message)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > bounds.FILE_DEPTH:
            message = gettext("It nests deeper than %(most)d levels.")
            raise _error(event.start_mark, message % {"most": bounds.FILE_DEPTH})


class _Loader(yaml.SafeLoader):
    """Refuses a key that occurs twice, of which YAML would silently drop the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                if key_node.value in seen:
                    problem = gettext("the key %(key)r occurs twice; remove one of them")
                    problem %= {"key": key_node.value}
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Writes a value that occurs twice out twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _write_text(dumper: yaml.SafeDumper, data: str) -> yaml.ScalarNode:
    """Write the values of choices, and marked texts, as the texts they are."""
    return dumper.represent_str(str(data))


_Dumper.add_multi_representer(str, _write_text)


def _invalid(mark: Any, what: str) -> DocumentError:
    return _error(mark, gettext("This is not valid YAML: %(problem)s.") % {"problem": what})


def _error(mark: Any, message: str) -> DocumentError:
    """Return the error at a mark, which counts from 0; the reader has not always set one."""
    text = gettext("line %(line)d, column %(column)d")
    place = text % {"line": mark.line + 1, "column": mark.column + 1} if mark else ""
    return DocumentError([Problem(place, message)])
