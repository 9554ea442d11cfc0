"""The option --update, which writes the traces of the scenarios anew: pytest tests/scenarios --update."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option; it is known where this folder is named on the command line."""
    parser.addoption(
        "--update", action="store_true", help="write the golden traces anew; read the diff before you commit"
    )
