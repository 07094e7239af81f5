"""A private course made from the kit, and kept up to date with it."""
