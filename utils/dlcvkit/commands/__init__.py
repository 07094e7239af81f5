"""What ``dlcvkit`` can do for a student, one module per command and one for each thing that they share."""
