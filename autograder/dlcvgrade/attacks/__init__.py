"""Attack the grader: a corpus of submissions, what must come of each, and nbgrader's own grading beside it."""
