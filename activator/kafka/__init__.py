"""Everything that speaks to a Kafka broker. What a lag or a wake causes does not belong here."""
