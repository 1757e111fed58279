//! What Kafka promises, end to end.
