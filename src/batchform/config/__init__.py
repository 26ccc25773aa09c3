"""DESIRED: from YAML files to a Config, or to every problem in them at once."""
