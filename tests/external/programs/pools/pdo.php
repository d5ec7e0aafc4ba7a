<?php
if (!extension_loaded('pdo_mysql')) {
    exit(77);
}
require __DIR__ . '/borrow.php';
two_borrowers(
    __FILE__,
    fn ($port, $database, $isAdvised) => new PDO(
        "mysql:host=127.0.0.1;port=$port;dbname=$database", 'root', '', [PDO::ATTR_PERSISTENT => !$isAdvised]
    ),
    fn ($connection, $sql) => $connection->query($sql)->fetchColumn(),
);
