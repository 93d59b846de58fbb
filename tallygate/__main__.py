"""``python -m tallygate``."""

from .cli.main import main

main()
