"""`python -m lnnc`: the same as the `lnnc` command."""

from lnnc.cli import main

if __name__ == "__main__":
    main()
