begin
  require "mysql2"
rescue LoadError
  exit 77
end
connection = Mysql2::Client.new(host: "127.0.0.1", port: ARGV[0].to_i, username: "root", password: ENV["PASSWORD"], database: "test")
say = ->(word) { puts word; $stdout.flush; $stdin.gets }
ask = lambda do |wanted, sql, *args|
  result = args.empty? ? connection.query(sql) : connection.prepare(sql).execute(*args)
  got = result.first.values.first
  raise "#{got} is not #{wanted}" unless got == wanted
end
connection.ping
ask.(1, "SELECT GET_LOCK('nightly', 10)")
say.("held")
ask.(1, "SELECT RELEASE_LOCK('nightly')")
say.("released")
ask.(0, "SELECT GET_LOCK(?, ?)", "nightly", 0)
say.("refused")
ask.(1, "SELECT GET_LOCK(?, ?)", "nightly", 10.5)
ask.(1, "SELECT IS_USED_LOCK(?) = CONNECTION_ID()", "nightly")
say.("again")
exit! 0 # without a goodbye
