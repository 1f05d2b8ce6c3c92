"""``python -m agents``: the ``distributary`` command line."""

from agents.commands.group import main

if __name__ == "__main__":
    main()
