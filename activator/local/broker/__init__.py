"""The embedded Kafka: one node, in memory, for unmodified clients.

The state machine, which has no sockets and no clock: `broker` joins `topics` and `settings` (what exists, and how it is
set), `records` over `log` and `batch` (records in, looked up and gone by retention), `fetch` (the long poll and its
sessions), `coordinator` over `group` and `offsets`, `faults` (what goes wrong on purpose), `timers`, `config`,
`protocol` (the words). Around it: `messages` and `wire` (bytes), `record_format` (the inside of batches), `server`
(TCP).

What it does not do, it does not advertise, or refuses in the protocol's own words: transactions
(TRANSACTIONAL_ID_AUTHORIZATION_FAILED), replication (INVALID_REPLICATION_FACTOR over 1), log compaction
(INVALID_CONFIG), the new group protocol of KIP-848, share groups, SASL, TLS, quotas, ACLs, and setting configurations
after a topic was made. A real broker is for those. Records live in memory only, up to `BrokerConfig.memory_bytes`.
"""
