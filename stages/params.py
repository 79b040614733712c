"""Checks that every key of params.yaml is known and its value valid: `python -m stages.params`, the first stage.

Only this stage depends on the whole file, and so it also checks the keys that no other stage depends on.
"""

from carvana import params, paths
from stages.stage import command_line, run


def main() -> None:
    device = params.load(paths.PARAMS).runtime.device
    if device not in ("auto", "cpu"):
        from carvana.networks.device import pick  # seconds of imports

        pick(device)


if __name__ == "__main__":
    command_line("params", __doc__).parse_args()
    run(main, "params", writes=False)
