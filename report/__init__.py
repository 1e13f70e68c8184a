"""What a reader sees: figures and prose for the notebooks, the build, the command line.

Nothing is imported here, so that a notebook depends on what it calls alone, not on the build.
"""
