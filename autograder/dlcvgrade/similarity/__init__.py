"""``dlcvgrade similarity``: whose code has more in common than chance explains, as evidence for a teacher to read."""
