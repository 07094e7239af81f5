"""The whole course loop once, with a class that fails in all the usual ways."""
