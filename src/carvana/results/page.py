"""Pages of HTML that are complete in themselves: they contain their pictures, charts and scripts."""

import base64
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters["base64"] = lambda content: base64.b64encode(content).decode("ascii")


def render(template: str, **content: object) -> str:
    """Returns the page of a template beside this file, `report.html` for one. Texts are escaped."""
    return _TEMPLATES.get_template(template).render(content)
