"""The use cases. A service checks the rules, changes the rows and commits: one call is one transaction."""
