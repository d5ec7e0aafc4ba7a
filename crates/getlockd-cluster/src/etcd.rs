//! etcd as the engine of a seat: plain keys, transactions and watches; no lease of etcd.
