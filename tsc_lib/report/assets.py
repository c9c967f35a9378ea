"""What the pages of a site would load from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Collection
from html.parser import HTMLParser
from pathlib import Path

SUFFIXES = (".html", ".css", ".js", ".svg")
_LOADING_LINKS = {"stylesheet", "icon", "manifest", "preload", "prefetch", "modulepreload", "preconnect"}
_LOADING_ATTRIBUTES = {"src", "srcset", "poster", "data"}
_ELSEWHERE = re.compile(r"(?:https?:)?//", re.IGNORECASE)
_CSS = re.compile(r"""(?:url\(\s*["']?|@import\s+["'])((?:https?:)?//[^"')\s]+)""", re.IGNORECASE)
_JS = re.compile(r"""(?:\bimport\s*\(?|\bfrom|importScripts\(|fetch\(|\.src\s*=)\s*["'`]((?:https?:)?//[^"'`]+)""")


class _Loads(HTMLParser):
    """Collects what a page loads by itself from elsewhere; a link that the reader may follow is none."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        values = {name: value or "" for name, value in attrs}
        loading = [values[name] for name in _LOADING_ATTRIBUTES & values.keys()]
        if tag == "link" and _LOADING_LINKS & set(values.get("rel", "").lower().split()):
            loading.append(values.get("href", ""))
        self.found += [value for value in loading if _ELSEWHERE.match(value.strip())]
        self.found += _CSS.findall(values.get("style", ""))

    def handle_data(self, data: str) -> None:
        if self._inside == "style":
            self.found += _CSS.findall(data)
        elif self._inside == "script":
            self.found += _JS.findall(data)

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""


def external_assets(site: Path, trusted: Collection[str] = ()) -> list[str]:
    """What the pages, style sheets and scripts of a site load from the network, as ``file: address``.

    Parameters
    ----------
    site : Path
        Folder of the site.
    trusted : collection of str
        Names of scripts that name an address which they load only when asked for what no page here has.
    """
    found = []
    for path in sorted(p for p in site.rglob("*") if p.suffix in SUFFIXES and p.name not in trusted):
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.suffix in (".html", ".svg"):
            page = _Loads()
            page.feed(text)
            addresses = page.found
        else:
            addresses = (_CSS if path.suffix == ".css" else _JS).findall(text)
        found += [f"{path.relative_to(site)}: {address}" for address in addresses]
    return found
