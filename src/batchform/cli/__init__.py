"""The command line: click commands, the environment, exit codes and the one error boundary."""
