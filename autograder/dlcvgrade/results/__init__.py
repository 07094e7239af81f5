"""What comes out of grading: feedback, a class report and exports, made from a folder of results and nothing else."""
