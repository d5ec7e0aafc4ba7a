-- What monitors, ORMs and tools ask of the server before anything else, one statement a line.
SHOW /*!50002 GLOBAL */ STATUS
SHOW /*!40003 GLOBAL*/ VARIABLES
SHOW GLOBAL VARIABLES
SHOW SLAVE STATUS
SHOW REPLICA STATUS
SHOW MASTER STATUS
SHOW BINARY LOG STATUS
SHOW ENGINE INNODB STATUS
SHOW REPLICAS
SELECT page_size, compress_ops, compress_ops_ok, compress_time, uncompress_ops, uncompress_time FROM information_schema.innodb_cmp
SELECT page_size, buffer_pool_instance, pages_used, pages_free, relocation_ops, relocation_time FROM information_schema.innodb_cmpmem
SELECT name, subsystem, type, comment, count FROM information_schema.innodb_metrics WHERE status = 'enabled'
SELECT EVENT_NAME, COUNT_STAR, SUM_TIMER_WAIT FROM performance_schema.events_waits_summary_global_by_event_name
SELECT FILE_NAME, EVENT_NAME, COUNT_READ, COUNT_WRITE, SUM_NUMBER_OF_BYTES_READ FROM performance_schema.file_summary_by_instance where FILE_NAME LIKE 'x'
SELECT OBJECT_SCHEMA, OBJECT_NAME, COUNT_FETCH, COUNT_INSERT FROM performance_schema.table_io_waits_summary_by_table WHERE OBJECT_SCHEMA NOT IN ('mysql', 'performance_schema')
SELECT NAME, ENABLED FROM performance_schema.setup_consumers WHERE NAME LIKE 'events_statements_%'
SELECT digest, schema_name, count_star FROM performance_schema.events_statements_summary_by_digest WHERE digest_text NOT LIKE 'EXPLAIN %' ORDER BY count_star DESC LIMIT 100
SELECT plugin_status FROM information_schema.plugins WHERE plugin_name = 'group_replication'
SELECT MEMBER_HOST, MEMBER_STATE FROM performance_schema.replication_group_members
SELECT VARIABLE_VALUE FROM performance_schema.global_status WHERE VARIABLE_NAME = 'Threads_connected'
SELECT variable_value FROM performance_schema.session_variables WHERE variable_name = 'autocommit'
SELECT ID, USER, HOST, DB, COMMAND, TIME, STATE, LEFT(INFO, 51200) FROM `information_schema`.`PROCESSLIST`
SELECT PROCESSLIST_ID, PROCESSLIST_USER FROM performance_schema.threads WHERE TYPE = 'FOREGROUND' AND PROCESSLIST_ID <> CONNECTION_ID()
SELECT * FROM performance_schema.session_connect_attrs
SELECT * FROM sys.innodb_lock_waits
SELECT ENGINE FROM INFORMATION_SCHEMA.ENGINES WHERE SUPPORT = 'DEFAULT'
SELECT table_name, table_type, table_comment FROM information_schema.tables WHERE table_schema = DATABASE()
SELECT * FROM `INFORMATION_SCHEMA`.`COLUMNS` WHERE `TABLE_SCHEMA` = 'app' AND `TABLE_NAME` = 'typeorm_metadata'
SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_NAME = 'jobs' AND TABLE_SCHEMA = 'app'
select * from information_schema.tables where table_schema = database() and table_name = 'knex_migrations'
SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'app'
SELECT `SCHEMA_NAME` FROM `INFORMATION_SCHEMA`.`SCHEMATA` ORDER BY `SCHEMA_NAME`
SELECT TABLE_NAME, COLUMN_NAME from information_schema.columns where table_schema = 'app' order by table_name,ordinal_position
SELECT ROUTINE_NAME FROM INFORMATION_SCHEMA.ROUTINES WHERE ROUTINE_TYPE="FUNCTION" AND ROUTINE_SCHEMA = "app"
SELECT CONCAT("'", user, "'@'",host,"'") FROM mysql.user
SELECT name from mysql.help_topic WHERE name like "SHOW %"
SELECT 1 FROM mysql.user LIMIT 1
SELECT `CHARACTER_SET_NAME` AS `Charset`, `DEFAULT_COLLATE_NAME` AS `Default collation`, `DESCRIPTION` AS `Description`, `MAXLEN` AS `Maxlen` FROM `information_schema`.`CHARACTER_SETS`
SELECT `PLUGIN_NAME`, `PLUGIN_DESCRIPTION` FROM `information_schema`.`PLUGINS` WHERE `PLUGIN_TYPE` = 'AUTHENTICATION'
SELECT *, EVENT_SCHEMA AS `Db`, EVENT_NAME AS `Name` FROM information_schema.`EVENTS` WHERE `EVENT_SCHEMA`='app'
SELECT c.* FROM information_schema.columns AS c WHERE c.TABLE_SCHEMA = 'app' ORDER BY c.ORDINAL_POSITION
SHOW STORAGE ENGINES
SHOW ENGINES
SHOW PLUGINS
SHOW PRIVILEGES
SHOW CHARACTER SET
SHOW CHARSET
SHOW COLLATION
SHOW COLLATION WHERE Charset = 'utf8mb4' AND `Default` = 'Yes'
SHOW SCHEMAS
SHOW TABLES
SHOW FULL TABLES FROM `app` WHERE Table_type = 'BASE TABLE'
SHOW TABLE STATUS FROM `app`
SHOW FUNCTION STATUS WHERE `Db`='app'
SHOW PROCEDURE STATUS WHERE `Db`='app'
SHOW TRIGGERS FROM `app`
SHOW EVENTS FROM `app`
SHOW OPEN TABLES WHERE In_use > 0
SHOW CREATE DATABASE `app`
SHOW GRANTS
SHOW GRANTS FOR CURRENT_USER
SHOW PROFILES
SHOW SESSION VARIABLES LIKE 'lower_case_table_names'
SHOW SESSION STATUS LIKE 'Ssl_cipher'
SHOW FULL COLUMNS FROM information_schema.tables
DESCRIBE information_schema.processlist 'ID'
