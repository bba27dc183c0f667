"""`python -m tubelet` is the command line."""

from tubelet.api.cli import main

main()
