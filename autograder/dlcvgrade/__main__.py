"""Allow ``python -m dlcvgrade``."""

from dlcvgrade.cli import main

main()
