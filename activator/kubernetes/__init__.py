"""Everything that speaks to an API server. Why a target gets its count does not belong here."""
