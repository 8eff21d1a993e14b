"""Battle: run street-dance tournaments, from registration to the final."""
