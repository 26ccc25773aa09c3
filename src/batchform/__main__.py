"""`python -m batchform` is the `batchform` command."""

from batchform.cli.main import main

if __name__ == "__main__":
    main()
