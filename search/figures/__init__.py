"""How charts look, whatever they show."""
