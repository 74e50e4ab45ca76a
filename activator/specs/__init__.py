"""What users write, as parsed dictionaries -> `core.model.Policy`, or every mistake in it as a `SpecError`.

Pure: reading files, Secrets and API objects belongs to the adapters.
"""
