# frozen_string_literal: true

require "io/wait"
require "openssl"
require "socket"

# Locks of getlockd, by its line protocol. Copy this file: it needs Ruby 3.0 and nothing else.
#
#   locks = GetLock.new("127.0.0.1", 3305)
#   done = locks.lock("nightly", 10) do |guard|
#     rows.each do |row|
#       break unless guard.held?
#       write(row, guard.token)
#     end
#   end
#   puts "somebody else has it" if done == false
#
# Each guard has a connection of its own. Ask held? between steps. A block whose lock was lost ends with
# GetLock::Lost, unless it ends with an exception of its own.
class GetLock
  ANSWER_TIME = 10 # seconds that the server may take for what does not wait

  # What the server answered as ERROR: `symbol` is for programs, the message for people.
  class Refused < StandardError
    attr_reader :symbol

    def initialize(symbol, text)
      super(text)
      @symbol = symbol
    end
  end

  # The lock is gone. `symbol` is the reason that the server gave, nil if the connection broke.
  class Lost < Refused; end

  BROKEN = [SystemCallError, SocketError, IOError, OpenSSL::SSL::SSLError].freeze

  # `tls` is an OpenSSL::SSL::SSLContext; a server that is away is tried for `retry_for` seconds.
  def initialize(host = "127.0.0.1", port = 3305, user: nil, password: "", tls: nil, retry_for: 30)
    hello = user ? "AUTH #{GetLock.quoted(user)} #{GetLock.quoted(password)}" : "PING"
    @server = [host, port, tls, hello]
    @retry_for = retry_for
  end

  # Runs the block with a Guard and returns what it returns; false if the lock was not granted within
  # `timeout` seconds. -1 waits for ever. Without a block it returns the guard, to be released, or nil.
  def lock(name, timeout, &block) = hold("GET_LOCK", GetLock.quoted(name), timeout, &block)

  # As `lock`, beside others that share it.
  def shared_lock(name, timeout, &block) = hold("GET_SHARED_LOCK", GetLock.quoted(name), timeout, &block)

  # One word, whatever is in it; no text can be a second line.
  def self.quoted(text)
    safe = { "\\" => "\\\\", "'" => "''", "\n" => "\\n", "\r" => "\\r", "\0" => "\\0" }
    "'#{text.gsub(/[\\'\n\r\0]/, safe)}'"
  end

  def self.now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

  private

  def hold(verb, name, timeout)
    guard = take(verb, name, timeout)
    return guard unless block_given?
    return false unless guard

    begin
      yield guard
    rescue Exception
      has_failed = true
      raise
    ensure
      raise guard.lost unless guard.release || has_failed
    end
  end

  # Nothing is held yet, so a wait that breaks may connect and queue again.
  def take(verb, name, timeout)
    away_since = GetLock.now
    deadline = timeout.negative? ? Float::INFINITY : away_since + timeout
    (0..).each do |attempt|
      connection = Connection.new(*@server)
      left = timeout.negative? ? -1 : [0, deadline - GetLock.now].max
      patience = timeout.negative? ? nil : left + ANSWER_TIME
      if connection.ask(format("%s %s %.3f", verb, name, left), patience) == "1"
        return Guard.new(connection, name, Integer(connection.ask("FENCING_TOKEN #{name}")))
      end
      connection.close
      return nil
    rescue Refused, *BROKEN => e
      away_since = GetLock.now if connection
      connection&.close
      pause = [2, 0.05 * 2**attempt].min * rand(0.5..1)
      passes = !e.is_a?(Refused) || %w[SHUTDOWN LIMIT].include?(e.symbol)
      raise if !passes || GetLock.now + pause > [deadline, away_since + @retry_for].min

      sleep(pause)
    end
  end

  # A lock that is held. `token` is its fencing token; `lost` is nil, or a Lost once that was noticed.
  class Guard
    attr_reader :token, :lost

    def initialize(connection, name, token)
      @connection, @name, @token = connection, name, token
      @released = false
    end

    # Whether nothing has come that says otherwise. This does not wait.
    def held?
      lose(Refused.new(nil, @connection.line)) if !@lost && !@released && @connection.spoken?
      !@lost && !@released
    rescue Refused, *BROKEN => e
      lose(e)
    end

    # Frees the lock. True if it was held until now, false if it had been lost.
    def release
      @released ||= held? && @connection.ask("RELEASE_LOCK #{@name}") == "1"
    rescue Refused, *BROKEN => e
      lose(e)
    ensure
      @connection.close
    end

    private

    def lose(why)
      @lost = Lost.new(why.is_a?(Refused) ? why.symbol : nil, why.message)
      false
    end
  end

  # Lines over TCP or TLS, with a time for each answer.
  class Connection
    def initialize(host, port, tls, hello)
      @unread = String.new
      @io = @tcp = Socket.tcp(host, port, connect_timeout: ANSWER_TIME)
      keep_alive
      encrypt(host, tls) if tls
      ask(hello)
    rescue StandardError
      close
      raise
    end

    def ask(line, patience = ANSWER_TIME)
      @io.write("#{line}\n")
      line(patience)
    end

    # Whether a part of a line has come, or the end.
    def spoken? = !@unread.empty? || fill

    def line(patience = ANSWER_TIME)
      deadline = GetLock.now + patience if patience
      until @unread.include?("\n")
        left = deadline && [0, deadline - GetLock.now].max
        fill || @tcp.wait_readable(left) || raise(IOError, "no answer in time")
      end
      line = @unread.slice!(0..@unread.index("\n")).chomp.force_encoding(Encoding::UTF_8)
      error, symbol, text = line.split(" ", 3)
      error == "ERROR" ? raise(Refused.new(symbol, text)) : line
    end

    def close
      @io&.close
    end

    private

    # Takes in what has come; false if that is nothing.
    def fill
      read = @io.read_nonblock(65_536, exception: false)
      raise EOFError, "the connection ended" unless read

      read.is_a?(String) && @unread << read
    end

    # A server that has vanished is found within half a minute.
    def keep_alive
      @tcp.setsockopt(:SOCKET, :KEEPALIVE, true)
      { KEEPIDLE: 10, KEEPINTVL: 5, KEEPCNT: 3 }.each do |option, value|
        @tcp.setsockopt(:TCP, option, value) if Socket.const_defined?("TCP_#{option}")
      end
    end

    def encrypt(host, tls)
      @io = OpenSSL::SSL::SSLSocket.new(@tcp, tls)
      @io.hostname = host
      @io.sync_close = true
      @io.connect
      @io.post_connection_check(host) unless tls.verify_mode == OpenSSL::SSL::VERIFY_NONE
    end
  end
end
