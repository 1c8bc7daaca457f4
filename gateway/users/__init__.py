"""Pure leaves that several places share: accounts, the rows of a table, the rules that name a user."""
