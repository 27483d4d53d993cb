"""Which texts of a page are too faint to read, in every state of the page and without axe-core."""

from __future__ import annotations

from typing import Any

from tests.study.page.browser import Browser

CONTRAST = """
const rgb = c => { const m = c.match(/[\\d.]+/g).map(Number); return m[3] === 0 ? null : m; };
const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
  return .2126 * r + .7152 * g + .0722 * b; };
const found = [];
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let n; n = walk.nextNode();) {
  const e = n.parentElement;
  if (!n.data.trim() || !e.checkVisibility() || e.closest("script,style,noscript,#stage")) continue;
  let b = e, back = null;
  while (b && !(back = rgb(getComputedStyle(b).backgroundColor))) b = b.parentElement;
  const [x, y] = [light(rgb(getComputedStyle(e).color)), light(back)];
  const ratio = (Math.max(x, y) + .05) / (Math.min(x, y) + .05);
  if (ratio < 4.5) found.push([n.data, ratio]);
}
return found;
"""


def faint_texts(browser: Browser) -> list[Any]:
    """Return each visible text whose contrast is below 4.5 (WCAG 2.1, 1.4.3, AA), with its contrast."""
    found = browser.run(CONTRAST)
    assert isinstance(found, list)
    return found
