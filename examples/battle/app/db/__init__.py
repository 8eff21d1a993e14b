"""The engine, the session maker and the tables' life."""
