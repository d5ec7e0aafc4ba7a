<?php
if (!extension_loaded('pdo_mysql') || !(@include 'Doctrine/DBAL/autoload.php')) {
    exit(77);
}
require '../../drivers/steps.php';
foreach (['mysqli', 'pdo_mysql'] as $driver) {
    $connection = Doctrine\DBAL\DriverManager::getConnection([
        'driver' => $driver, 'host' => '127.0.0.1', 'port' => (int) $argv[1], 'user' => 'root',
        'password' => getenv('PASSWORD'), 'dbname' => 'test', 'charset' => 'utf8mb4',
    ]);
    $schema = $connection->createSchemaManager();
    equal(count($schema->listTableNames()), 0);
    equal((int) $schema->tablesExist(['doctrine_migration_versions']), 0);
    equal((int) in_array('test', $schema->listDatabases()), 1);
    $connection->setTransactionIsolation(Doctrine\DBAL\TransactionIsolationLevel::READ_COMMITTED);
    equal($connection->transactional(fn ($inside) => $inside->fetchOne('SELECT 1')), 1);
    $last = $connection;
}
steps(fn ($sql, $args) => $last->fetchOne($sql, $args));
