"""Exercises of stage a4: sequences, attention, generative models and style."""
