<?php
if (!extension_loaded('pdo_mysql') || !(@include 'Illuminate/Database/autoload.php')) {
    exit(77);
}
require '../../drivers/steps.php';
// As a new application of Laravel has it in config/database.php.
$manager = new Illuminate\Database\Capsule\Manager();
$manager->addConnection([
    'driver' => 'mysql', 'host' => '127.0.0.1', 'port' => $argv[1], 'database' => 'test', 'username' => 'root',
    'password' => getenv('PASSWORD'), 'charset' => 'utf8mb4', 'collation' => 'utf8mb4_unicode_ci', 'prefix' => '',
    'prefix_indexes' => true, 'strict' => true, 'engine' => null, 'timezone' => '+00:00', 'isolation_level' => 'READ COMMITTED',
]);
$connection = $manager->getConnection();
equal((int) $connection->getSchemaBuilder()->hasTable('migrations'), 0);
equal(count($connection->getSchemaBuilder()->getAllTables()), 0);
equal($connection->transaction(fn () => $connection->transaction(fn () => $connection->selectOne('SELECT 1 AS x')))->x, 1);
steps(fn ($sql, $args) => current((array) $connection->selectOne($sql, $args)));
