# frozen_string_literal: true

# What tests/external/languages.rs tells the client of Ruby to do.
require "getlock"

$stdout.sync = true

if (ca = ENV["GETLOCK_CA"])
  tls = OpenSSL::SSL::SSLContext.new
  tls.set_params(ca_file: ca)
end
user = ENV["GETLOCK_USER"] unless ENV["GETLOCK_USER"].to_s.empty?
locks = GetLock.new(ENV["GETLOCK_HOST"] || "127.0.0.1", Integer(ARGV[0]), user: user, password: ENV["GETLOCK_PASSWORD"] || "", tls: tls)

def command
  line = $stdin.gets or exit
  line.chomp.gsub("␤", "\n").split(/ /, 3)
end

def hold(guard)
  puts "granted #{guard.fencing_token}"
  verb, = command
  guard.lost.wait if verb == "watch"
  puts(guard.release ? "released" : "not released") if verb == "release"
  verb
end

loop do
  verb, timeout, name = command
  done = locks.lock(name, timeout: Float(timeout), shared: verb == "shared") { |guard| hold(guard) }
  puts "left" if done == "leave"
rescue GetLock::NotGranted
  puts "none"
rescue GetLock::Lost => e
  puts ["lost", e.symbol].compact.join(" ")
rescue GetLock::Refused => e
  puts "refused #{e.symbol}"
rescue *GetLock::BROKEN
  puts "away"
end
