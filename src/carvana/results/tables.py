"""A row of a table as text."""

Row = dict[str, int | str]
