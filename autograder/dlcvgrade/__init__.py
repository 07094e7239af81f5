"""Instructor side of the course kit: build, release, grade."""
