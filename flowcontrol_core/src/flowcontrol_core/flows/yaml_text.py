"""YAML from outside: read with bounds on its size, depth and references."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

from flowcontrol_core.errors import DocumentError, EditError, Problem

MAX_BYTES = 1024 * 1024
# A document 50 branches deep takes three levels a branch, and its configurations 50 more.
MAX_DEPTH = 250


def load(text: str) -> Any:
    """Read one YAML document of plain values; raises DocumentError, with line and column.

    Anchors and aliases are refused: with them a few lines unfold without end.
    """
    if len(text.encode(errors="surrogatepass")) > MAX_BYTES:
        raise _error("", f"The file is larger than {MAX_BYTES // 1024:,} KiB; import it in parts.")
    try:
        _refuse_excess(text)
        # A SafeLoader, which builds plain values only.
        return yaml.load(text, Loader=_Loader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        what = ", ".join(filter(None, [error.context, error.problem]))
        raise _error(_place(error.problem_mark), f"This is no valid YAML: {what}.") from error
    except (yaml.YAMLError, ValueError) as error:
        raise _error("", f"This is no valid YAML: {error}.") from error


def dump(data: Any) -> str:
    """Write plain values as YAML; raises EditError where ``load`` would refuse its size."""
    text = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    if len(text.encode()) > MAX_BYTES:
        raise EditError(
            f"The export is larger than {MAX_BYTES // 1024:,} KiB; export fewer flows at once."
        )
    return text


def _refuse_excess(text: str) -> None:
    """Look at the parser's events, which takes neither recursion nor memory."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _error(
                _place(event.start_mark),
                "Anchors (&) and aliases (*) are not possible here; write the value out.",
            )
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise _error(_place(event.start_mark), f"It nests deeper than {MAX_DEPTH} levels.")


class _Loader(yaml.SafeLoader):
    """Refuses a key that occurs twice, of which YAML would silently drop the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                if key_node.value in seen:
                    problem = f"the key {key_node.value!r} occurs twice; remove one of them"
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


def _place(mark: Any) -> str:
    """Name the place of a mark, counted from 1; empty where the reader has set none."""
    return f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""


def _error(path: str, message: str) -> DocumentError:
    return DocumentError([Problem(path, message)])
