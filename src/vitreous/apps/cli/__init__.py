"""The command line: one file per command.

Files hold the function `run` of a command, whose docstring is what `--help` prints. Everything that needs
torch is imported inside functions: `vitreous --help` and a mistyped option are answered without it. Results
go to standard output, messages to standard error, so that a pipeline reads data alone.
"""
