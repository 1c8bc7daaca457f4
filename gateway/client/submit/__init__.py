"""A batch script and options of sbatch -> the body of job/submit in one API version. Nothing here does I/O."""
