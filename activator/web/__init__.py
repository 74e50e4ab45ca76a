"""Everything that listens: health, metrics, pushes, the HPA's external metrics, the dashboard. No decisions here."""
