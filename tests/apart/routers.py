"""The router of the site, as the how-to guide has it."""

from __future__ import annotations

from typing import Any

from tests.docs.pages import blocks, read

_names: dict[str, Any] = {}
for _block in blocks(read("how-to/use-several-databases.md"), "python"):
    if _block.text.startswith("class FlowcontrolRouter"):
        exec(_block.text, _names)
FlowcontrolRouter = _names["FlowcontrolRouter"]
