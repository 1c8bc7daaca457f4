"""A folder of job files -> jobs, one each, whatever is killed on the way."""
