begin
  require "active_record"
  require "mysql2"
rescue LoadError
  exit 77
end
require_relative "../../drivers/steps"
ActiveRecord::Base.establish_connection(
  adapter: "mysql2", host: "127.0.0.1", port: ARGV[0].to_i, username: "root", password: ENV["PASSWORD"], database: "test"
)
connection = ActiveRecord::Base.connection
equal(connection.active?, true)
equal(connection.current_database, "test")
equal(connection.charset, "utf8mb4")
ActiveRecord::Base.transaction(isolation: :read_committed) { connection.select_value("SELECT 1") }
ActiveRecord::Base.transaction { ActiveRecord::Base.transaction(requires_new: true) { connection.select_value("SELECT 1") } }
# As its migrations take it: through methods of its own.
equal(connection.get_advisory_lock("nightly", 10), true)
say("held")
equal(connection.release_advisory_lock("nightly"), true)
say("released")
equal(connection.get_advisory_lock("nightly", 0), false)
say("refused")
equal(connection.get_advisory_lock("nightly", 10), true)
say("again")
exit! 0 # without a goodbye
