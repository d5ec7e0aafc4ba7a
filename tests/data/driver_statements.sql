-- What drivers, pools and frameworks send besides the calls that matter, one statement a line.
select @@version_comment limit 1
SELECT DATABASE()
select DATABASE(), USER() limit 1
select @@character_set_client, @@character_set_connection, @@character_set_server, @@character_set_database limit 1
show databases
SET NAMES utf8mb4
SET AUTOCOMMIT = 0
SET autocommit=0
SET NAMES 'utf8mb4' COLLATE 'utf8mb4_0900_ai_ci'
SET @@session.autocommit = OFF
SELECT @@session.sql_mode
SET @@session.sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES'
select version() as version
SET time_zone = '+00:00'
SELECT VERSION() as `version`
SELECT 1+1 AS result
BEGIN
START TRANSACTION
COMMIT
ROLLBACK
/* mysql-connector-j-9.1 (Revision: x) */SELECT  @@session.auto_increment_increment AS auto_increment_increment, @@character_set_client AS character_set_client, @@character_set_connection AS character_set_connection, @@character_set_results AS character_set_results, @@character_set_server AS character_set_server, @@collation_server AS collation_server, @@collation_connection AS collation_connection, @@init_connect AS init_connect, @@interactive_timeout AS interactive_timeout, @@license AS license, @@lower_case_table_names AS lower_case_table_names, @@max_allowed_packet AS max_allowed_packet, @@net_write_timeout AS net_write_timeout, @@performance_schema AS performance_schema, @@sql_mode AS sql_mode, @@system_time_zone AS system_time_zone, @@time_zone AS time_zone, @@transaction_isolation AS transaction_isolation, @@wait_timeout AS wait_timeout
SET character_set_results = NULL
SET autocommit=1
SET SESSION TRANSACTION READ ONLY
SET SESSION TRANSACTION READ WRITE
SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED
SELECT @@session.transaction_isolation
USE `test`
SET SESSION wait_timeout=60
set autocommit=1, sql_mode = concat(@@sql_mode,',STRICT_TRANS_TABLES')
SELECT @@max_allowed_packet,@@system_time_zone,@@time_zone,@@auto_increment_increment
SELECT @@transaction_isolation
set autocommit=1,sql_mode=CONCAT(@@sql_mode,',STRICT_TRANS_TABLES'),session_track_system_variables = CONCAT(@@global.session_track_system_variables,',transaction_isolation'),NAMES utf8mb4
SELECT @@time_zone, @@system_time_zone
SELECT @@wait_timeout
SELECT CONNECTION_ID(), VERSION();
SELECT SLEEP(0) INTO @__MySqlConnector__Sleep;
SELECT @@max_allowed_packet, @@character_set_client,  @@character_set_connection, @@license, @@sql_mode, @@lower_case_table_names, @@autocommit;
SELECT TIMEDIFF(NOW(), UTC_TIMESTAMP())
SHOW COLLATION
use `db`;
SET NAMES 'utf8mb4' COLLATE 'utf8mb4_unicode_ci', SESSION sql_mode='ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES';
SET NAMES utf8mb4 COLLATE utf8mb4_unicode_ci,  @@SESSION.sql_mode = CONCAT(CONCAT(@@sql_mode, ',STRICT_ALL_TABLES'), ',NO_AUTO_VALUE_ON_ZERO'),  @@SESSION.wait_timeout = 2147483
SET character_set_server = 'utf8mb4'
SET collation_connection = 'utf8mb4_unicode_ci'
SET collation_server = 'utf8mb4_unicode_ci'
SET sql_mode=(SELECT CONCAT(@@sql_mode, ',PIPES_AS_CONCAT,NO_ENGINE_SUBSTITUTION')),time_zone='+00:00',NAMES utf8mb4 COLLATE utf8mb4_unicode_ci
SELECT @@max_allowed_packet,@@wait_timeout,@@socket
SELECT @@socket
SET character_set_client = 'utf8mb4'
SELECT @@GLOBAL.version version
SELECT 1
SELECT @@sql_mode
SELECT @@lower_case_table_names
SELECT VERSION(), @@sql_mode, @@default_storage_engine, @@sql_auto_is_null, @@lower_case_table_names, CONVERT_TZ('2001-01-01 01:00:00', 'UTC', 'UTC') IS NOT NULL
SET wait_timeout=60
SELECT @@global.read_only read_only
SELECT @@global.innodb_read_only, @@global.super_read_only
select get_lock('a', 0) from dual
SHOW VARIABLES LIKE 'sql_mode'
SHOW VARIABLES WHERE Variable_name = 'wait_timeout' OR Variable_name LIKE 'char%'
SHOW SESSION STATUS LIKE 'Threads%'
SHOW WARNINGS
SHOW ENGINES
PREPARE s FROM 'SELECT GET_LOCK(?, ?)'
SET @name = 'x', @seconds = 0
EXECUTE s USING @name, @seconds
DEALLOCATE PREPARE s
PREPARE s FROM 'SELECT id FROM information_schema.processlist LIMIT ?, ?'
DROP PREPARE s
SELECT RELEASE_ALL_LOCKS()
SELECT p.* FROM information_schema.processlist AS p
SELECT SQL_SMALL_RESULT SQL_BUFFER_RESULT STRAIGHT_JOIN 1
SELECT DISTINCTROW 1 FROM DUAL LOCK IN SHARE MODE
SELECT \N IS NULL
SELECT 1 FOR UPDATE SKIP LOCKED
SELECT id FROM information_schema.processlist p FOR SHARE OF p NOWAIT
SELECT (SELECT DISTINCT 1 FROM DUAL)
SELECT GET_LOCK('x', 0) BETWEEN 0 AND 1
SELECT 'a%' LIKE 'a\%' ESCAPE '\\'
DESCRIBE SELECT 1
EXPLAIN FORMAT=TRADITIONAL SELECT 1
COMMIT AND CHAIN NO RELEASE
VALUES ROW(1, 2) LIMIT 1
SELECT GET_LOCK(CONCAT('job-', LPAD(HEX(CRC32('orders')), 8, '0')), 0)
SELECT GET_LOCK(LEFT(CONCAT('app:', SHA2('/var/lib/app', 256)), 64), 0)
SELECT GET_LOCK(SUBSTRING_INDEX('queue.mail.send', '.', -1), 0)
SELECT RELEASE_LOCK(TRIM(BOTH '/' FROM '/queue/')), REGEXP_REPLACE('a b', '[^a-z]', '_')
SELECT INSERT(UUID(), 9, 1, ''), ROUND(RAND() * 10), BIN_TO_UUID(UUID_TO_BIN(UUID())) IS NOT NULL
SELECT 1 << 3 | 2, ~0 & 255, 7 DIV 2, MOD(7, 4), 'a' REGEXP '^[a-z]$', 'x' COLLATE utf8mb4_bin = 'X'
