"""YAML 1.2, as DVC reads and writes it: 1e-05 is a number, and 010 is ten."""

import io
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML

_MOST_VALUES = 100_000  # of a file; dvc.lock has some 200


def parse(text: str) -> Any:
    """Returns the content of a YAML text. Call it in `errors.reading`: on other texts the parser raises anything.

    Raises ValueError if the content refers to itself, or repeats itself until it is huge.
    """
    content = YAML(typ="safe").load(text)
    todo, count = [content], 0
    while todo:
        value = todo.pop()
        count += 1
        if count > _MOST_VALUES:
            raise ValueError(f"it has more than {_MOST_VALUES} values, or refers to itself")
        if isinstance(value, dict | list | tuple | set):
            todo += [*value, *value.values()] if isinstance(value, dict) else value
    return content


def changed(text: str, values: Mapping[str, Any]) -> str:
    """Returns a YAML text of sections with other values of some keys, `train.size` for one; comments stay."""
    yaml, result = YAML(), io.StringIO()
    yaml.width = 10**6  # lines stay as they are
    content = yaml.load(text)
    for name, value in values.items():
        section, _, key = name.partition(".")
        content.setdefault(section, {})[key] = value
    yaml.dump(content, result)
    return result.getvalue()
