<?php
if (!extension_loaded('pdo_mysql')) {
    exit(77);
}
require 'steps.php';
$connection = new PDO("mysql:host=127.0.0.1;port=$argv[1];dbname=test", 'root', getenv('PASSWORD'), [PDO::ATTR_EMULATE_PREPARES => true]);
steps(function ($sql, $args) use ($connection) {
    $statement = $connection->prepare($sql);
    $statement->execute($args);
    return $statement->fetchColumn();
});
