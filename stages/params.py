"""Every key of params.yaml is known and its value possible: `python -m stages.params`, the first stage.

It alone depends on the whole file, and so looks at the keys that no other stage depends on as well.
"""

from carvana import params, paths
from stages.stage import command_line, run


def main() -> None:
    device = params.load(paths.PARAMS).runtime.device
    if device not in ("auto", "cpu"):
        from carvana.networks.device import pick  # noqa: PLC0415 - seconds of imports

        pick(device)


if __name__ == "__main__":
    command_line("params", __doc__).parse_args()
    run(main, "params", writes=False)
