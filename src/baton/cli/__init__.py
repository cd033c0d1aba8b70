"""The command line: arguments in, one line a step and a documented exit code out."""
