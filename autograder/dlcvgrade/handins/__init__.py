"""Downloads from a learning platform, sorted into ``submitted/STUDENT/STAGE``."""
