"""``python -m agents``: the ``distributary`` command line."""

_INTERRUPTED = 130


def main() -> None:
    """Run the command line. Ctrl-C while it is being loaded ends it without a trace."""
    try:
        from agents.commands.group import main as run  # noqa: PLC0415 it takes a second in which somebody may change their mind

        run()
    except KeyboardInterrupt:
        raise SystemExit(_INTERRUPTED) from None


if __name__ == "__main__":
    main()
