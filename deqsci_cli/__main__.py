"""`deqsci` and `python -m deqsci_cli`."""

from deqsci_cli.cli.app import main

if __name__ == "__main__":
    main()
