"""An error that the user can fix; it is shown without a traceback."""


class UserError(Exception):
    """An error that the user can fix.

    Its message says what is wrong, where (file, key or row) and what to do next. Stages print it without
    a traceback and exit with status 1. Every other exception is a bug and keeps its traceback.
    """


def some(names: list[str], limit: int = 5) -> str:
    """Returns the first `limit` names and how many more there are, for a message."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message, at most 200 characters; its type if the message is empty."""
    return str(error).strip().split("\n")[0][:200] or type(error).__name__
