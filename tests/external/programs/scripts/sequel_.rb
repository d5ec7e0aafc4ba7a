begin
  require "sequel"
  require "mysql2"
rescue LoadError
  exit 77
end
require_relative "../../drivers/steps"
database = Sequel.connect(
  adapter: "mysql2", host: "127.0.0.1", port: ARGV[0].to_i, user: "root", password: ENV["PASSWORD"], database: "test"
)
equal(database.test_connection, true)
equal(database.tables, [])
equal(database.table_exists?(:schema_info), false)
equal(database.transaction(isolation: :serializable) { database.get(1) }, 1)
database.synchronize do # one connection, whatever the pool does
  steps { |sql, *args| database.fetch(sql, *args).first.values.first }
end
