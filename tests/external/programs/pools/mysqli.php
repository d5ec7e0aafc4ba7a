<?php
if (!extension_loaded('mysqli')) {
    exit(77);
}
require __DIR__ . '/borrow.php';
two_borrowers(
    __FILE__,
    fn ($port, $database, $isAdvised) => new mysqli($isAdvised ? '127.0.0.1' : 'p:127.0.0.1', 'root', '', $database, $port),
    fn ($connection, $sql) => $connection->query($sql)->fetch_row()[0],
);
