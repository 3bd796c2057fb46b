"""`python -m search.cli`: the command line where no console script is installed."""

from search.cli.app import main

main()
