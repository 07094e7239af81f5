"""What can go wrong with data, as exceptions whose text is one line for the user."""


class DataError(Exception):
    """Data cannot be fetched, unpacked or read; the text says what, and what was expected."""


class MissingDataError(DataError):
    """The data is not on this machine; the text says how to get it."""
