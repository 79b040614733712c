"""What a person types: `carvana look`, `carvana cutout car.jpg --out cut`, and so on; one file for each command.

Each file has `main`, whose arguments are those of the command, and `add_arguments` if there are any. Commands import
torch in `main`, so that `--help` answers at once. Commands need the folder of a clone, unless a function `needs_clone`
of theirs says otherwise for the arguments.
"""

import argparse
from importlib import import_module

from carvana.base import stage

# Those that write into the clone, one at a time, and those that only read it.
WRITING = ("look", "export", "features", "recipe", "recipes", "submit")
READING = ("check", "cutout", "layers", "summary", "unlock")


def main() -> None:
    """Runs the command that the command line names."""
    parser = argparse.ArgumentParser(prog="carvana", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    modules = {name: import_module(f"carvana.commands.{name}") for name in sorted(WRITING + READING)}
    for name, module in modules.items():
        text = module.__doc__ or ""
        as_written = argparse.RawDescriptionHelpFormatter
        command = commands.add_parser(name, help=text.partition(":")[0], description=text, formatter_class=as_written)
        if hasattr(module, "add_arguments"):
            module.add_arguments(command)
    arguments = vars(parser.parse_args())
    name = arguments.pop("command")
    module = modules[name]
    needs_clone = not hasattr(module, "needs_clone") or module.needs_clone(**arguments)
    stage.run(lambda: module.main(**arguments), name, writes=name in WRITING, needs_clone=needs_clone)
