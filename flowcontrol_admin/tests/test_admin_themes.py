"""The colours of our style, in a browser, in themes without the variables of Django's admin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flowcontrol_admin
from tests.services import chromium

pytestmark = pytest.mark.browser

STYLES = Path(flowcontrol_admin.__file__).parent / "static/flowcontrol_admin"
#: What a theme without Django's variables does: reset the controls, and colour the page.
RESET = """
input, textarea, select, button { border: 0; background: none; color: inherit; }
a { color: inherit; text-decoration: inherit; }
"""
BODY = """
<body class="fc"><div id="content"><h1>Title</h1><div id="content-main">
<div class="fc-card"><p>Card</p><p class="fc-quiet">Quiet</p><a href="#">Link</a>
<a class="fc-button" href="#">Button</a></div>
<p class="fc-note">Note</p><p class="fc-note fc-note-error">Error</p>
<p class="fc-note fc-note-warning">Warning</p><pre class="fc-pre">Code</pre>
<span class="fc-badge fc-waiting">Badge</span><span class="fc-badge">Plain</span>
<ul class="fc-problems"><li>Problem</li></ul>
<form class="fc-form"><input type="text" value="Text"><textarea>Text</textarea>
<select><option>Choice</option></select></form>
<div class="fc-tree"><ol class="fc-list">
<li class="fc-step k-choice"><div class="fc-row"><span class="fc-open"><b>If</b>
<span>it is <var>object.x</var></span></span><span class="fc-tag is-failed">1 problem</span>
<span class="fc-tag is-waiting">3 runs</span><span class="fc-tag fc-mute">off</span></div>
<div class="fc-br"><p class="fc-lb"><b>Then</b><span class="fc-hint">continue</span></p></div></li>
<li class="fc-step k-loop"><div class="fc-br"><p class="fc-lb"><b>Each time</b></p></div></li>
<li class="fc-step k-par"><div class="fc-br"><p class="fc-lb"><b>Both</b></p></div></li>
<li class="fc-step k-wait"><div class="fc-br"><p class="fc-lb"><b>Timed out</b></p></div></li>
<li class="fc-step k-msg"><p class="fc-said">Note</p></li>
<li class="fc-step k-data"><p class="fc-said fc-problems">Problem</p></li></ol></div>
</div></div></body>
"""
#: Blends the backgrounds of an element and of all around it, and returns the contrast of its text.
CONTRAST = """
element => {
  const context = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = colour => {
    context.clearRect(0, 0, 1, 1); context.fillStyle = colour; context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => below.map((value, i) => top[i] * top[3] + value * (1 - top[3]));
  const lineage = [];
  for (let one = element; one; one = one.parentElement) lineage.unshift(one);
  const behind = lineage.reduce(
    (below, one) => over(rgba(getComputedStyle(one).backgroundColor), below), [255, 255, 255]);
  const text = over(rgba(getComputedStyle(element).color), behind);
  const light = colour => {
    const [r, g, b] = colour.map(value => value / 255).map(
      value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [low, high] = [light(text), light(behind)].sort((one, other) => one - other);
  return (high + 0.05) / (low + 0.05);
}
"""
LEAST = 4.5


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield found
        found.close()


@pytest.mark.parametrize(
    ("html", "prefers", "colours"),
    [
        ('class="dark"', "dark", "background: #101828; color: #d1d5dc"),
        ('class="dark"', "light", "background: #101828; color: #d1d5dc"),
        ("", "light", "background: #fff; color: #364153"),
        ("", "dark", "background: #fff; color: #364153"),
        ('data-theme="dark"', "light", "background: #121212; color: #eee"),
        ('data-theme="light"', "dark", "background: #fff; color: #333"),
        ('data-theme="auto"', "dark", "background: #121212; color: #eee"),
        ('data-theme="auto"', "light", "background: #fff; color: #333"),
    ],
)
def test_all_is_readable_and_fields_have_borders_in_a_theme_without_variables(
    browser: Any, html: str, prefers: str, colours: str
) -> None:
    page = browser.new_page(color_scheme=prefers)
    rules = "".join((STYLES / name).read_text() for name in ("admin.css", "track.css"))
    style = f"{RESET} html {{ {colours} }} {rules}"
    page.set_content(f"<!doctype html><html {html}><style>{style}</style>{BODY}</html>")
    shown = page.query_selector_all(
        "h1, p, a, .fc-badge, pre, li, input, textarea, select, .fc-tree :is(b, span, var)"
    )
    contrasts = {one.evaluate("e => e.outerHTML"): one.evaluate(CONTRAST) for one in shown}
    assert len(contrasts) > 10
    assert {each: found for each, found in contrasts.items() if found < LEAST} == {}
    widths = [
        one.evaluate("e => getComputedStyle(e).borderTopWidth")
        for one in page.query_selector_all("input, textarea, select")
    ]
    assert widths == ["1px"] * 3
    page.close()
