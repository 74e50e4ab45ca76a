"""KEDA's ScaledObject -> the same Policy as annotations give, or every mistake in it.

- `fields.py`        what a row of the tables says, and how a document is read by them
- `table.py`         the tables: every field and annotation, and what we do with each
- `triggers.py`      the trigger types, each with the table of its parameters
- `cron.py`          cron expressions
- `environment.py`   what a container's `env` says, for parameters that are read from it
- `environment_parameters.py`  the same for a TriggerAuthentication's `env`
- `scaled_object.py` a whole document, with the rules that several fields together must keep

Pure: documents come in as parsed YAML or JSON; who fetched them is not known here.
"""
