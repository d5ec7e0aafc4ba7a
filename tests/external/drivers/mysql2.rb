begin
  require "mysql2"
rescue LoadError
  exit 77
end
require_relative "steps"
connection = Mysql2::Client.new(host: "127.0.0.1", port: ARGV[0].to_i, username: "root", password: ENV["PASSWORD"], database: "test")
connection.ping
steps do |sql, *args|
  result = args.empty? ? connection.query(sql) : connection.prepare(sql).execute(*args)
  result.first.values.first
end
