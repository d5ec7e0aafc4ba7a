# frozen_string_literal: true

require "json"
require "socket"
require "timeout"

# What the steps need beside the client: plain connections that stand for the others, and stubs of the server.
module Scene
  PATIENCE = 20

  # What a step wants and does not find.
  class Wrong < StandardError; end

  def self.now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

  def check(condition, what)
    raise Wrong, what unless condition
  end

  def equal(is, wanted, what)
    check(is == wanted, "#{what} is #{is.inspect} and not #{wanted.inspect}")
  end

  # Returns what the block comes to, as soon as that is true.
  def eventually(what)
    deadline = Scene.now + PATIENCE
    until (result = yield)
      check(Scene.now < deadline, "#{what}: not within #{PATIENCE} s")
      sleep(0.005)
    end
    result
  end

  # The error with which the block ends; it must be of this class.
  def error_of(kind)
    yield
  rescue kind => e
    e
  rescue StandardError => e
    raise Wrong, "#{e.inspect} and not #{kind}"
  else
    raise Wrong, "no #{kind}"
  end

  # A thread whose error is for those who ask for its value.
  def quietly
    Thread.new do
      Thread.current.report_on_exception = false
      yield
    end
  end

  # One of the others, on a plain connection.
  class Peer
    def initialize(port) = @socket = TCPSocket.new("127.0.0.1", port)

    def say(line) = @socket.write("#{line}\n")

    def line = Timeout.timeout(PATIENCE) { @socket.gets.chomp }

    def ask(line)
      say(line)
      self.line
    end

    def take(name) = ask("GET_LOCK #{name} 0") == "1" || raise(Wrong, "#{name} is not free")

    def free?(name) = ask("IS_FREE_LOCK #{name}") == "1"

    def free(name) = ask("RELEASE_LOCK #{name}") == "1" || raise(Wrong, "#{name} was not held")

    # What LOCKS shows of a lock with one holder.
    def row(name)
      row = ask("LOCKS #{name}")
      line == "END 1" ? row : raise(Wrong, "#{row} is not the only one")
    end

    # The numbers of the sessions that wait for a lock.
    def waiters(name)
      say("WAITERS #{name}")
      rows = []
      until (row = line).start_with?("END")
        rows << row[/(?:id|session)=(\d+)/, 1]
      end
      rows
    end
  end

  # A server of one's own, with a thread for each connection.
  class Stub
    attr_reader :port

    def initialize
      @server = TCPServer.new("127.0.0.1", 0)
      @port = @server.addr[1]
      @thread = Thread.new { loop { serve(@server.accept) } }
    end

    # Whether a client has come.
    def visited? = !@server.wait_readable(0.05).nil?

    def close
      @thread.kill
      @server.close
    end

    private

    def serve(socket)
      Thread.new do
        talk(socket)
      rescue SystemCallError, IOError
        nil # the client has gone
      ensure
        socket.close
      end
    end
  end

  # Nobody is let in.
  class Deaf < Stub
    def initialize
      super
      @thread.kill.join
    end
  end

  # A node that cannot serve: it says so, or closes the connection without a word.
  class Elsewhere < Stub
    attr_reader :visits

    def initialize(words)
      @words = words
      @visits = 0
      super()
    end

    private

    def talk(socket)
      @visits += 1
      socket.readpartial(4096)
      socket.write(@words)
    end
  end

  # Grants every lock, after `delay`, and says nothing before `silence` is over. The block is asked for the `left` of each question of a connection, by its
  # number; nil does not answer it. `asked` and `closed` are the moments of questions and of ended connections.
  # `says` are other answers, by the first word of the line. A String in place of a number is sent as it is, and a Proc
  # does with the socket what it wants.
  class LineStub < Stub
    attr_reader :asked, :closed

    def initialize(delay: 0, silence: 0, says: {}, &left)
      @delay, @silence, @says, @left = delay, silence, says, left
      @asked = []
      @closed = []
      super()
    end

    private

    def talk(socket)
      questions = 0
      while (line = socket.gets)
        case line
        when /^(#{Regexp.union(@says.keys)})/ then socket.puts(@says[$1])
        when /^KEEPALIVE/ then question(socket, questions += 1)
        when /^HELLO/ then greet(socket)
        when /^GET/ then grant(socket)
        else socket.puts("1")
        end
      end
    ensure
      @closed << Scene.now
    end

    def greet(socket)
      sleep(@silence)
      socket.puts("HELLO version=0.1.0 protocol=1 session=7 max_line=1024")
    end

    def question(socket, number)
      @asked << Scene.now
      case left = @left.call(number)
      when Proc then left.call(socket)
      when String then socket.puts(left)
      when Numeric then socket.puts(format("KEEPALIVE left=%.3f spare=7", left))
      end
    end

    def grant(socket)
      sleep(@delay)
      socket.puts("1")
    end
  end

  # A server that lets others wait, but answers questions behind them at once.
  class WaitingStub < Stub
    private

    def talk(socket)
      lines = 5.times.map { socket.gets }
      expected = %w[INTRODUCE HELLO KEEPALIVE GET_LOCK FENCING_TOKEN]
      raise Wrong, lines.inspect unless lines.map { |line| line[/\w+/] } == expected

      socket.puts("1")
      socket.puts("HELLO version=0.1.0 protocol=1 session=7 max_line=1024")
      sleep(0.2)
      socket.write("KEEPALIVE left=5.000\n")
      sleep(0.2)
      socket.write("1\n77\n")
      while (line = socket.gets)
        socket.puts(line.start_with?("KEEPALIVE") ? "KEEPALIVE left=5.000" : "1")
      end
    end
  end

  # Passes on requests over HTTP, and loses the answer to the first acquire. `ids` are those of the acquires.
  class LosingProxy < Stub
    attr_reader :ids

    def initialize(behind)
      @behind = behind
      @ids = []
      super()
    end

    private

    def talk(socket)
      head = socket.gets("\r\n\r\n")
      body = socket.read(Integer(head[/content-length: (\d+)/i, 1]))
      answer = TCPSocket.open("127.0.0.1", @behind) do |server|
        server.write(head, body)
        server.read
      end
      is_acquire = head.start_with?("POST /api/lock/acquire")
      @ids << JSON.parse(body).fetch("requestId") if is_acquire
      socket.write(answer) unless is_acquire && @ids.size == 1
    end
  end

  # Leases over HTTP. The block is asked whether a heartbeat is answered, by its number. A String is the whole answer, and
  # a Hash changes it; `grant` changes what is said of a grant.
  class LeaseStub < Stub
    attr_reader :beats

    def initialize(grant: {}, &answers)
      @grant, @answers = grant, answers
      @beats = []
      super()
    end

    private

    def talk(socket)
      action = socket.gets[%r{/api/lock/(\w+)}, 1]
      length = 0
      while (header = socket.gets.chomp) != ""
        length = Integer(header.split.last) if header.start_with?("Content-Length")
      end
      socket.read(length)
      @beats << Scene.now if action == "heartbeat"
      said = action == "heartbeat" ? @answers.call(@beats.size) : true
      return socket.read unless said
      return socket.write(said) if said.is_a?(String)

      odd = said.is_a?(Hash) ? said : @grant
      answer = JSON.generate({ success: true, status: "Acquired", lockToken: "5e", fencingToken: 7, **odd }.compact)
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: #{answer.bytesize}\r\n\r\n#{answer}")
    end
  end
end
