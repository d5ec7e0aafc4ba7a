begin
  require "active_record"
  require "mysql2"
rescue LoadError
  exit 77
end
# What every script of a pool does: see borrow.py.
def say(word)
  puts word
  $stdout.flush
  $stdin.gets
end

if ARGV[2] == "advised"
  ActiveRecord::ConnectionAdapters::AbstractAdapter.set_callback(:checkin, :before) { execute("DO RELEASE_ALL_LOCKS()") }
end
ActiveRecord::Base.establish_connection(
  adapter: "mysql2", host: "127.0.0.1", port: ARGV[0].to_i, username: "root", database: ARGV[1], pool: 1
)
pool = ActiveRecord::Base.connection_pool
raise "the lock was not free" unless pool.with_connection { |first| first.get_advisory_lock("nightly", 0) }
say("given back")
pool.with_connection do |second|
  say("lent again")
  say(second.get_advisory_lock("nightly", 0) ? 1 : 0)
end
