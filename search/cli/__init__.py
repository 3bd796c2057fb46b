"""The command line: it parses the arguments, calls one function and prints what comes back."""
