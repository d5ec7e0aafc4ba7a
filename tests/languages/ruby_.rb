# What tests/languages.rs tells the client of Ruby to do.
require_relative "../../clients/ruby/getlock"

Encoding.default_external = Encoding::UTF_8
$stdout.sync = true

if (ca = ENV["GETLOCK_CA"])
  tls = OpenSSL::SSL::SSLContext.new
  tls.set_params(ca_file: ca)
end
user = ENV["GETLOCK_USER"] unless ENV["GETLOCK_USER"].to_s.empty?
locks = GetLock.new("127.0.0.1", Integer(ARGV[0]), user: user, password: ENV["GETLOCK_PASSWORD"] || "", tls: tls)

def command
  line = $stdin.gets or exit
  line.chomp.gsub("␤", "\n").split(/ /, 3)
end

def hold(guard)
  puts "granted #{guard.token}"
  verb, = command
  sleep 0.001 while verb == "watch" && guard.held? # a step of the work
  puts(guard.release ? "released" : "not released") if verb == "release"
  verb
end

loop do
  verb, timeout, name = command
  take = locks.method(verb == "lock" ? :lock : :shared_lock)
  done = take.call(name, Float(timeout)) { |guard| hold(guard) }
  puts "none" if done == false
  puts "left" if done == "leave"
rescue GetLock::Lost => e
  puts ["lost", e.symbol].compact.join(" ")
rescue GetLock::Refused => e
  puts "refused #{e.symbol}"
rescue *GetLock::BROKEN
  puts "away"
end
