"""A page of HTML that is whole in itself: pictures and charts lie within it, and it needs no script and no network."""

import base64
import html
from pathlib import Path
from string import Template

import pandas as pd

_TEMPLATE = Path(__file__).with_suffix(".html")


def document(title: str, *parts: str) -> str:
    """The page of those parts, each of them HTML. It follows the reader's choice of light or dark."""
    template = Template(_TEMPLATE.read_text(encoding="utf-8"))
    return template.substitute(title=html.escape(title), body="\n".join(parts))


def section(title: str, *parts: str, level: int = 2) -> str:
    """Parts below a heading; nothing where there are no parts."""
    shown = [part for part in parts if part]
    return "\n".join([f"<h{level}>{html.escape(title)}</h{level}>", *shown]) if shown else ""


def paragraph(text: str) -> str:
    """A text, as it is."""
    return f"<p>{html.escape(text)}</p>"


def table(rows: pd.DataFrame) -> str:
    """A table; on a narrow screen it scrolls by itself."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in rows.columns)
    cells = ([f"<td>{html.escape(str(value))}</td>" for value in row] for row in rows.itertuples(index=False))
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in cells)
    return f'<div class="table"><table><tr>{head}</tr>{body}</table></div>'


def grid(*figures: str, kind: str = "") -> str:
    """Figures beside each other as the screen allows; `kind` is '' for charts, for pictures 'wide', 'full', 'small'."""
    return f'<div class="grid {kind}">{"".join(figures)}</div>' if figures else ""


def chart(svg: str, title: str, caption: str = "") -> str:
    """An SVG below its title."""
    return f"<figure><h3>{html.escape(title)}</h3>{svg}<figcaption>{html.escape(caption)}</figcaption></figure>"


def picture(webp: bytes, alternative: str, caption: str = "") -> str:
    """A WebP picture; `alternative` is what those have who do not see it."""
    data = base64.b64encode(webp).decode("ascii")
    return (
        f'<figure><img loading="lazy" alt="{html.escape(alternative)}" src="data:image/webp;base64,{data}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )
