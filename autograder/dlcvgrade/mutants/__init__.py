"""Wrong functions of every kind, to see that the checks notice them."""
