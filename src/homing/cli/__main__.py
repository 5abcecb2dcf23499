"""``python -m homing.cli``."""

from homing.cli.main import main

main()
