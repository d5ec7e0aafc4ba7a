# frozen_string_literal: true

require "openssl"
require "socket"
require "timeout"

# Locks of a getlockd server, over its line protocol. It needs Ruby 3.1 and no other gem.
#
#   locks = GetLock.new("127.0.0.1", 3305)
#   locks.lock("nightly", timeout: 10) do |guard|
#     rows.each do |row|
#       break unless guard.held?
#       write(row, guard.fencing_token)
#     end
#   end
#
# The block never runs without the lock: if somebody else holds it for longer than `timeout`, `lock` raises
# GetLock::NotGranted. If the lock is lost while the block runs, the block ends with GetLock::Lost.
#
# Each guard has a connection of its own, and a thread that asks the server how long the lock is safe. The
# guard is lost `stop_within` seconds before that time is over, so that the work can stop in time. Until then, or
# until the guard is released, its connection stays open. Ask `held?` between steps, wait for `lost`, or let `on_lost`
# stop the work.
#
# A client may be shared by threads. A child made by `fork` has no part in the locks of its parent.
class GetLock
  VERSION = "0.1.0"

  # The server answered with an error. `symbol` is for programs, the message for people.
  class Refused < StandardError
    attr_reader :symbol

    def initialize(symbol, text)
      super(text)
      @symbol = symbol
    end
  end

  # The lock is gone. `symbol` is the server's reason; nil if the connection broke or time ran out.
  class Lost < Refused; end

  # Somebody else held the lock until the timeout was over.
  class NotGranted < Timeout::Error; end

  # What is raised when the server cannot be reached: `rescue *GetLock::BROKEN`.
  BROKEN = [SystemCallError, SocketError, IOError, OpenSSL::SSL::SSLError].freeze

  require_relative "getlock/cluster"
  require_relative "getlock/wire"
  require_relative "getlock/identity"

  # Seconds that the server may take to answer a command that does not wait.
  ANSWER_TIME = 10
  # The same for a connection that is new: without a leader a cluster holds it for 10 s.
  PARKED_TIME = 15
  # Everything that can come from outside: Timeout, Thread#raise, Thread#kill.
  NEVER = { Object => :never }.freeze
  private_constant :ANSWER_TIME, :PARKED_TIME, :NEVER

  # GetLock::Leases, for locks that hold no connection.
  autoload :Leases, File.join(__dir__, "getlock", "leases.rb")
  autoload :Lease, File.join(__dir__, "getlock", "leases.rb")

  # `host` has one address or, for a cluster, several: `"a:3305,b:3305"` or an Array. `port` is that of those without
  # one. If a node does not answer or cannot serve, the next one is tried. The last good one is the first.
  #
  # `tls` is an OpenSSL::SSL::SSLContext; without a call of its `set_params` it accepts every certificate. While no
  # lock is held, a server that is away is tried for `retry` seconds. `stop_within` is the number of seconds that
  # your work needs to stop; by default it is two fifths of the time that the server promises. In a cluster it is a
  # fifth of the longest promise, and at most three tenths of it.
  #
  # The lists of the server show `name` and `note`, of at most 256 characters each. By default the name is
  # `user@host[pid] program`, and there is no note; with an empty name the client does not introduce itself.
  def initialize(host = "127.0.0.1", port = 3305, user: nil, password: "", tls: nil, retry: 30, stop_within: nil,
                 name: nil, note: nil)
    @cluster = Cluster.new(Address.all(host, port))
    login = "AUTH #{quoted(user, "user")} #{quoted(password, "password")}" if user
    @server = Server.new(@cluster, Check.tls(tls), login)
    @identity = Identity.new(name, note)
    @retry_for = Check.span(binding.local_variable_get(:retry), "retry") # `retry` alone is a keyword
    @stop_within = Check.stop_within(stop_within)
  end

  # Runs the block with a Guard and returns what it returns. The lock is free after it.
  #
  # `timeout` is in seconds: 0 tries; nil, infinity and negative numbers wait forever. `shared` takes the lock
  # beside others that share it.
  def lock(name, timeout: nil, shared: false, &block)
    raise ArgumentError, "lock needs a block; without one, use acquire" unless block

    wait(name, timeout, shared).use(&block)
  end

  # Returns a Guard. The lock is held until Guard#release, or the end of the process.
  def acquire(name, timeout: nil, shared: false)
    raise ArgumentError, "acquire takes no block; use lock" if block_given?

    wait(name, timeout, shared).guard
  end

  # As `acquire`, but returns nil at once if somebody else holds the lock.
  def try_lock(name, shared: false)
    raise ArgumentError, "try_lock takes no block; use lock with timeout: 0" if block_given?

    wait(name, 0, shared).guard
  rescue NotGranted
    nil
  end

  # Shows no password.
  def inspect = "#<#{self.class} #{@cluster.inspect}>"

  private

  def wait(name, timeout, shared)
    word = quoted(name, "name")
    verb = Check.flag(shared, "shared") ? "GET_SHARED_LOCK" : "GET_LOCK"
    LineWait.new(@server, introduction, name, verb, word, Check.seconds(timeout, "timeout"), @retry_for, @stop_within)
  end

  # The line that tells the server who this is; nil for those who do not tell it.
  def introduction
    words = [@identity.name, @identity.note].compact
    "INTRODUCE #{words.map { |word| quoted(word, "name") }.join(" ")}" if @identity.name
  end

  # One word of a line, whatever is in it. No text can become a second line.
  def quoted(text, what)
    safe = { "\\" => "\\\\", "'" => "''", "\n" => "\\n", "\r" => "\\r", "\0" => "\\0" }
    "'#{Check.text(text, what).gsub(/[\\'\n\r\0]/, safe)}'"
  end

  # Where to connect to. `login` is the line that logs in, or nil.
  Server = Struct.new(:cluster, :tls, :login) do
    def inspect = cluster.inspect # without the password
  end

  # Arguments are refused before anything is sent.
  module Check
    # Longer than this is forever: no sum of times and no system call can overflow.
    FOREVER = 1_000_000_000
    # What sockets give, and ENV where LANG is C: bytes, which are taken for UTF-8.
    AS_UTF_8 = [Encoding::BINARY, Encoding::US_ASCII].freeze

    class << self
      def text(value, what)
        raise TypeError, "#{what} must be a String, not #{value.class}" unless value.is_a?(String)

        is_bytes = AS_UTF_8.include?(value.encoding)
        text = is_bytes ? value.dup.force_encoding(Encoding::UTF_8) : value.encode(Encoding::UTF_8)
        text.valid_encoding? ? text : raise(ArgumentError, "#{what} is not valid UTF-8")
      rescue EncodingError
        raise ArgumentError, "#{what} cannot be written in UTF-8"
      end

      # Of a String with commas, or of an Array of such.
      def parts(value, what)
        raise ArgumentError, "#{what} is an empty Array; give at least one address" if value == []

        texts = (value.is_a?(Array) ? value : [value]).map { |one| text(one, what) }
        texts.join(",").concat(",").split(",", -1)[...-1].map(&:strip)
      end

      # Seconds as a Float, or nil for forever.
      def seconds(value, what)
        number(value, "#{what} must be a number of seconds, or nil for forever") unless value.nil?
        value.to_f unless value.nil? || value.negative? || value > FOREVER
      end

      def stop_within(value)
        span(value, "stop_within") || Float::INFINITY unless value.nil?
      end

      # As `seconds`, but what is negative is a mistake.
      def span(value, what)
        seconds = seconds(value, what)
        raise ArgumentError, "#{what} must be at least 0, not #{value}" if value&.negative?

        seconds
      end

      def number(value, rule)
        raise TypeError, "#{rule}, not #{value.class}" unless value.is_a?(Numeric) && value.real?
        raise ArgumentError, "#{rule}, not NaN" if value.respond_to?(:nan?) && value.nan?
      end

      def flag(value, what)
        [true, false].include?(value) ? value : raise(TypeError, "#{what} must be true or false, not #{value.class}")
      end

      def port(value)
        raise TypeError, "port must be an Integer, not #{value.class}" unless value.is_a?(Integer)

        (1..65_535).cover?(value) ? value : raise(ArgumentError, "port must be from 1 to 65535, not #{value}")
      end

      def tls(context)
        return context if context.nil? || context.is_a?(OpenSSL::SSL::SSLContext)

        raise TypeError, "tls must be an OpenSSL::SSL::SSLContext, not #{context.class}"
      end
    end
  end

  # The clock of all deadlines. It counts the time in which the machine is suspended, if the system has such a clock.
  module Clock
    ID = Process.const_defined?(:CLOCK_BOOTTIME) ? Process::CLOCK_BOOTTIME : Process::CLOCK_MONOTONIC

    def self.now = Process.clock_gettime(ID)
  end

  # Threads of our own.
  module Background
    # A thread inherits what its maker has deferred. This one must always be possible to end.
    def self.run(name, &block)
      thread = Thread.new { Thread.handle_interrupt(Object => :immediate, &block) }
      thread.name = "getlock: #{name}"
      thread
    end
  end

  # Something that happens once, and that threads can wait for.
  class Event
    def initialize
      @mutex = Mutex.new
      @condition = ConditionVariable.new
      @is_set = false
    end

    def set? = @is_set

    # Waits until it has happened, for at most `timeout` seconds. True if it has.
    def wait(timeout = nil)
      deadline = Clock.now + (Check.seconds(timeout, "timeout") || Check::FOREVER)
      @mutex.synchronize do
        @condition.wait(@mutex, [deadline - Clock.now, 0].max) until @is_set || Clock.now >= deadline
      end
      @is_set
    end

    def set
      @mutex.synchronize do
        @is_set = true
        @condition.broadcast
      end
    end
  end

  # A lock that is held: what a Guard and a Lease have in common. Threads may share it.
  class Hold
    # `lost` is an Event: `guard.lost.wait(1)` waits for the loss, for a second.
    attr_reader :name, :fencing_token, :lost

    def initialize(name, fencing_token)
      @name, @fencing_token = name, fencing_token
      @pid = Process.pid
      @lost = Event.new
      @mutex = Mutex.new
      @releasing = Mutex.new
      @callbacks = []
    end

    # Whether the lock is held now. It looks at the clock and at what the server has sent, and does not wait.
    # It is false in a child made by `fork`.
    def held? = !inherited? && @mutex.synchronize { current? }

    # Whether the lock was lost, and was not released before that.
    def lost? = !held? && @lost.set?

    # The Lost, or nil if the lock was not lost.
    def why
      held?
      @why
    end

    # Runs the block with the Lost, in a thread of its own, as soon as the lock is lost; at once if it is lost
    # already. It does not run if the lock is released.
    def on_lost(&block)
      raise ArgumentError, "on_lost needs a block" unless block

      @mutex.synchronize { @lost.set? ? tell(block) : @callbacks << block }
      self
    end

    # Frees the lock. True if it was held until now, false if it had been lost, or in a child made by `fork`.
    def release
      return false if inherited?

      @releasing.synchronize { @released.nil? ? @released = free : @released }
    end

    # Runs the block and frees the lock. Raises Lost if the lock was lost before the end of the block. An error
    # of the block stays what it is, with the Lost as its cause.
    def use
      raise ArgumentError, "use needs a block" unless block_given?

      begin
        yield self
      rescue Exception => e
        raise
      ensure
        leave(e)
      end
    end

    def inspect = "#<#{self.class} #{@name.inspect} #{place}fencing_token=#{@fencing_token} held=#{held?}>"

    private

    def place = nil

    def inherited? = @pid != Process.pid

    def leave(error)
      return if release || inherited?
      return if Thread.current.status == "aborting" # Thread#kill: nobody would see the error

      error ? blame(error) : raise(@why)
    end

    # Makes the loss the first cause of what the block raised. Ruby sets a cause only while it raises.
    def blame(error)
      first = error
      first = first.cause while first.cause && !first.equal?(@why)
      raise first, cause: @why unless first.equal?(@why)
    rescue FrozenError
      nil # an error that cannot be given a cause
    rescue Exception => e
      raise unless e.equal?(first)
    end

    # Only with the mutex: whether the lock is still held. Notices a loss, be it in the block.
    def current?
      return false if over?

      check
      block_given? ? yield : true
    rescue Refused, Broken => e
      lose_by(e)
    end

    # Only with the mutex. Always false.
    def lose_by(error) = lose(error.is_a?(Refused) ? error.symbol : nil, error.message)

    # Only with the mutex. The lock never comes back: nothing is asked any more, and all who wait for the loss learn
    # of it.
    def lose(symbol, text)
      Thread.handle_interrupt(NEVER) do
        @why = Lost.new(symbol, "the lock #{@name.inspect} is lost: #{text}")
        drop
        @lost.set
        @callbacks.each { |callback| tell(callback) }
      end
      false
    end

    def tell(callback) = Background.run("#{@name} is lost") { callback.call(@why) }

    # Runs `beat` when it is due. A guard whose thread was killed is lost, but not at the end of the process,
    # which ends all threads and lets each leave its block.
    def keep
      while (pause = @mutex.synchronize { current? { beat } })
        rest(pause)
      end
    rescue IOError
      nil # the lock was released or lost meanwhile, and the connection closed
    ensure
      @mutex.synchronize { lose(nil, "the thread that kept the lock was ended") if Thread.main.alive? && !over? }
    end

    def over? = @why || @ended

    def interrupted = Lost.new(nil, "the release of #{@name.inspect} was interrupted before the server had answered")
  end

  # A lock that is held by a connection. `session` is its number at the server.
  class Guard < Hold
    attr_reader :session

    def initialize(connection, name, word, fencing_token)
      super(name, fencing_token)
      @connection, @word = connection, word
      @session = connection.session
      Background.run(name) do
        keep
        connection.linger unless @ended
      end
    end

    private

    def place = "session=#{@session} "

    # The clock first: an answer that was read too late does not revive a lock.
    def check
      raise Refused.new(nil, "the server did not confirm the lock in time; take it again") unless @connection.safe?

      @connection.look
    end

    # Asks again if it is time, and returns the seconds until there is something to do.
    def beat = @connection.keep_alive

    def rest(pause) = @connection.wait(pause)

    # If time ran out, maybe only answers are missing: the end of the connection would free the lock for others at
    # once, and the work has still to stop.
    def drop = (@connection.close if @connection.safe?)

    def free
      return false unless @mutex.synchronize { current? && (@ended = true) }

      @connection.say("RELEASE_LOCK #{@word}")
      answer = @connection.reply
      answer == "1" || raise(Refused.new(nil, "the server does not know of it"))
    rescue Refused, Broken => e
      @mutex.synchronize { lose_by(e) }
    ensure
      Thread.handle_interrupt(NEVER) do
        @connection.close
        @why ||= interrupted unless answer
      end
    end
  end

  # The way to a lock: connects, queues, and begins again if that breaks, since nothing is held yet. However it
  # is ended, whether by Timeout or Thread#kill, it leaves the queue and holds nothing.
  class Wait
    # Refusals that pass. The server also sends them as it closes.
    PASSING = %w[SHUTDOWN LIMIT UNAVAILABLE Unavailable].freeze

    def initialize(cluster, name, timeout, retry_for)
      @cluster, @name, @timeout, @retry_for = cluster, name, timeout, retry_for || Float::INFINITY
    end

    # The guard, for those who release it.
    def guard
      guard = run
      is_taken = true
      guard
    ensure
      withdraw unless is_taken
    end

    def use(&block)
      run.use(&block)
    ensure
      withdraw # also if it was ended between the grant and the block
    end

    private

    def run
      @away_since = Clock.now
      @deadline = @timeout ? @away_since + @timeout : Float::INFINITY
      @round = @cluster.round
      (0..).each do |attempt|
        return walk || raise(NotGranted, not_granted)
      rescue Refused, Broken => e
        pause = pause_after(attempt, e)
        begin_again
        @round = @cluster.round
        sleep(pause)
      end
    end

    # Tries one address after the other. Each has its turn before a pause.
    def walk
      @address = @round.shift
      try(@timeout && [@deadline - Clock.now, 0].max)
    rescue Refused, Broken => e
      @away_since = Clock.now if @is_reached
      raise if @round.empty? || !passes?(e)

      begin_again
      retry
    end

    def begin_again
      @is_reached = false
      clear
    end

    # Whether another address, or another time, may bring something better.
    def passes?(error) = !error.is_a?(Refused) || PASSING.include?(error.symbol)

    # Before the next try.
    def clear = withdraw

    # Until when it is tried after this error.
    def deadline_after(_error) = @deadline

    # Raises what another try would not change. Pauses grow and differ, so that not all clients come back in the
    # same moment.
    def pause_after(attempt, error)
      pause = [2, 0.05 * (2**attempt)].min * rand(0.5..1)
      raise error if !passes?(error) || Clock.now + pause > [deadline_after(error), @away_since + @retry_for].min

      pause
    end

    def not_granted
      format("%p was not granted within %g s: somebody else holds it; wait longer, or try again later", @name, @timeout)
    end
  end

  class LineWait < Wait
    def initialize(server, introduction, name, verb, word, timeout, retry_for, stop_within)
      super(server.cluster, name, timeout, retry_for)
      @introduction = introduction
      @server, @verb, @word, @stop_within = server, verb, word, stop_within
    end

    private

    # All questions in one round trip. Returns a Guard, or nil if the lock was not granted.
    def try(left)
      @connection = Connection.new(@server, @address, @stop_within)
      @connection.open
      take = [request(left), "FENCING_TOKEN #{@word}"]
      @connection.say(*@server.login, *@introduction, "HELLO", Connection::QUESTION, *take)
      @connection.greet(is_introduced: !@introduction.nil?)
      @is_reached = true
      @cluster.served(@address)
      return if (taken = @connection.waited(left && (left + ANSWER_TIME))) == "0"
      raise Failure, "the server answered #{taken.inspect} to #{@verb}" unless taken == "1"

      fencing_token = @connection.number
      @connection.confirm
      Guard.new(@connection, @name, @word, fencing_token)
    end

    def request(left) = format("%s %s %.3f", @verb, @word, left || -1)

    def withdraw = Thread.handle_interrupt(NEVER) { @connection&.close }
  end

  # How long the server keeps the lock from others: from the moment in which the last answered question was sent.
  #
  # The promises of a cluster differ: each has what is left to its leader. The longest one stands for the rest.
  class Promise
    def initialize(cluster, stop_within)
      @cluster, @stop_within = cluster, stop_within
      @asked = []
      @ask_at = @stop_at = @end_at = -Float::INFINITY
      @left = nil
    end

    attr_reader :ask_at, :stop_at, :end_at

    def ask
      @asked << Clock.now
      @ask_at = @asked.last + @every if @left
    end

    def answer(left, term = nil)
      since = @asked.shift or raise Failure, "the server answered a question that was not asked"
      term ? of_cluster(since, left, term) : of_server(since, left)
      @ask_at = (@asked.last || since) + @every
    end

    def kept? = Clock.now < @stop_at

    def asked? = !@asked.empty?

    # When a waiting client checks that the leader of a cluster is still there; never on a server alone.
    def look_at
      return Float::INFINITY unless @term

      asked? ? @asked.last + @left : @end_at
    end

    # How long an answer to a question of now can be of use.
    def patience = [@left ? @left - margin : ANSWER_TIME, ANSWER_TIME].min

    private

    def of_server(since, left)
      check(left) unless @left
      @left = left.zero? ? Float::INFINITY : left # 0: the server promises nothing, and takes nothing back
      @every = @left / 5
      @end_at = since + @left
      @stop_at = @left.finite? ? @end_at - margin : @left
    end

    # A connection is of one term. An earlier promise still holds, also if this one is shorter.
    def of_cluster(since, left, term)
      raise Failure, Cluster::OUTDATED unless [nil, term].include?(@term) && @cluster.takes?(term, left)

      @term = term
      @cluster.check(@stop_within)
      @left = @cluster.longest
      @every = @left / Cluster::ASKED_PER_PROMISE
      @end_at = [@end_at, since + left].max
      @stop_at = @end_at - margin
    end

    def margin = [@stop_within || (@left * (@term ? Cluster::TO_STOP : 0.4)), @left].min

    def check(left)
      return if @stop_within.nil? || left.zero? || @stop_within < left * 0.8

      raise ArgumentError, "stop_within is #{@stop_within} s, and the server confirms a lock for #{left} s only: " \
                           "choose less than #{(left * 0.8).round(3)} s, or start getlockd with a longer --keepalive"
    end
  end

  # Lines. One thread at a time may use a connection, but for `wait` and `close`.
  class Connection
    QUESTION = "KEEPALIVE"
    # A machine that was suspended finds out within this time.
    LONGEST_REST = 1

    attr_reader :session

    def initialize(server, address, stop_within)
      @server, @address = server, address
      @wire = Wire.new
      @promise = Promise.new(server.cluster, stop_within)
    end

    def open
      cluster = @server.cluster
      deadline = Clock.now + cluster.first_answer_time
      @wire.open(@address.host, @address.port, @server.tls, deadline, cluster.connect_time)
    end

    def close = @wire.close

    # The time counts from before the question leaves.
    def say(*lines)
      @promise.ask if lines.include?(QUESTION)
      @wire.write(lines.map { |line| "#{line}\n" }.join)
    end

    def first_answer_time = @server.cluster.first_answer_time

    # Reads the answers to the login, to the introduction and to HELLO.
    def greet(is_introduced:)
      reply(first_answer_time) if @server.login
      introduced if is_introduced
      hello = reply(first_answer_time)
      @session = Integer(hello[/\AHELLO .*\bsession=(\d+)/, 1] || raise(stranger(hello)))
    end

    # An older server does not know the command, and shows no names.
    def introduced
      answer = reply(first_answer_time)
      raise stranger(answer) unless answer == "1"
    rescue Refused => e
      raise unless e.symbol == "UNKNOWN_COMMAND"
    end

    # The next line that is no answer to KEEPALIVE: such a one overtakes the answer to a GET_LOCK that waits.
    def reply(patience = ANSWER_TIME)
      deadline = patience ? Clock.now + patience : Float::INFINITY
      loop do
        line = @wire.line(deadline)
        return line unless take_in(line)
      end
    end

    # As `reply`. In a cluster it asks whenever a promise is over whether the leader is still there, since TCP alone would
    # find that out much later.
    def waited(patience)
      deadline = patience ? Clock.now + patience : Float::INFINITY
      loop do
        line = @wire.line_by([deadline, @promise.look_at].min)
        if line.nil?
          raise Failure, "no answer in time" if @promise.asked? || Clock.now >= deadline

          say(QUESTION)
        elsif !take_in(line)
          return line
        end
      end
    end

    # The number of a grant. A server that has forgotten the grant says NULL.
    def number
      line = reply
      Integer(line[/\A\d+\z/] || raise(Failure, "the server answered #{line.inspect}, and no number of a grant"), 10)
    end

    # A lock that was granted late needs a new promise.
    def confirm
      return if safe?

      say(QUESTION)
      deadline = Clock.now + @promise.patience
      take_in(@wire.line(deadline)) || raise(Failure, "the server has answered what was not asked") until safe?
    end

    def safe? = @promise.kept?

    # Reads what has come, without waiting. It has an end: a server that does not pause says what it was not asked.
    def look
      loop do
        while (line = @wire.next_line)
          take_in(line) || raise(Failure, "the server sent #{line.inspect} unasked")
        end
        break unless @wire.fill
      end
    end

    # Asks if it is time. Returns the seconds until there is something to do.
    def keep_alive
      @wire.flush
      say(QUESTION) if Clock.now >= @promise.ask_at
      [[@promise.ask_at, @promise.stop_at].min - Clock.now, 0].max
    end

    def wait(seconds) = @wire.wait([seconds, LONGEST_REST].min)

    # Stays open until another thread closes it, or others can have the lock. Nothing that comes is heard.
    def linger
      @wire.await_end(@promise.end_at)
    rescue *BROKEN
      nil
    ensure
      close
    end

    private

    # True if it was an answer to KEEPALIVE.
    def take_in(line)
      error, symbol, text = line.split(" ", 3)
      raise Refused.new(symbol, text || symbol) if error == "ERROR" && symbol
      return false unless error == QUESTION

      left = line[/\A#{QUESTION} left=(\d{1,9}(\.\d+)?)(?: [a-z_]+=.*)?\z/o, 1]
      term = line[/ term=(\S*)/, 1]
      raise Failure, "the server says #{line.inspect}" unless left && term.to_s.match?(/\A\d{0,18}\z/) && term != ""

      @promise.answer(left.to_f, term && Integer(term, 10))
      true
    end

    def stranger(answer)
      Refused.new("WRONG_PROTOCOL", "#{@address} does not speak this line protocol, it says " \
                                    "#{answer.inspect}; use the line port of getlockd (3305 by default)")
    end
  end

  private_constant :Server, :Check, :Clock, :Background, :Hold, :Wait, :LineWait, :Promise, :Connection

  # A child closes its copies at once, so that the lock ends with its parent.
  module Forking
    def _fork
      pid = super
      Wire.close_copies if pid.zero?
      pid
    end

    # The process that took the locks ends here, and its locks with it.
    def daemon(*)
      super.tap { Wire.close_copies }
    end
  end
  private_constant :Forking
  Process.singleton_class.prepend(Forking) if Process.respond_to?(:_fork)
end
