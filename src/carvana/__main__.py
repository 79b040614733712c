"""`python -m carvana` is the same as the command `carvana`."""

from carvana.commands import main

main()
