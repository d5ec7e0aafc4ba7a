# frozen_string_literal: true

require "io/wait"
require "openssl"
require "socket"

class GetLock
  # What the network does is marked by this, and is tried again. What a handler of a signal raises is not, though it may
  # be of the same class.
  module Broken; end

  # What the other side says, and no getlockd does; or that it says nothing.
  class Failure < IOError
    include Broken
  end

  # Bytes over TCP or TLS. Nothing here blocks without a deadline.
  class Wire
    # No line of a getlockd, and no answer over HTTP, comes near to these.
    LONGEST_LINE = 65_536
    LONGEST_ANSWER = 1 << 20
    # The open ones, of which a child made by `fork` closes its copies.
    OPEN = {}.compare_by_identity

    # No goodbye: over TLS that would end the connection of the parent.
    def self.close_copies
      OPEN.each_key(&:close_copy)
      OPEN.clear
    end

    def initialize
      @pid = Process.pid
      @unread = String.new
      @unsent = String.new
    end

    # The handshake of TLS has until the deadline: a cluster without a leader answers none.
    def open(host, port, tls, deadline, connect_time)
      connect_by = [deadline, Clock.now + connect_time].min
      connect(resolve(host, port, connect_by), connect_by)
      marked { options }
      encrypt(host, tls, deadline) if tls
    end

    def write(text)
      @unsent << text.b
      flush
    end

    # Sends what can be sent now.
    def flush
      until @unsent.empty?
        sent = marked { @io.write_nonblock(@unsent, exception: false) }
        break unless sent.is_a?(Integer)

        @unsent = @unsent.byteslice(sent..)
      end
    rescue Errno::EPIPE, Errno::ECONNRESET
      @unsent.clear # the server has closed; what it said before, and then the end, can still be read
    end

    # Takes in a part of what has come; false if that is nothing.
    def fill
      read = marked { @io.read_nonblock(LONGEST_LINE, exception: false) || raise(EOFError, "the connection ended") }
      return false unless read.is_a?(String)

      @unread << read
      true
    end

    # A line that has come, without its end, or nil.
    def next_line
      ending = @unread.index("\n")
      raise Failure, "a line without an end came" if (ending || @unread.bytesize) > LONGEST_LINE
      return unless ending

      @unread.slice!(0..ending).chomp.force_encoding(Encoding::UTF_8).scrub
    end

    def line(deadline) = await(deadline) { next_line }

    # The same, or nil if none has come by then.
    def line_by(deadline)
      until (line = next_line) || Clock.now >= deadline
        fill || wait_until(deadline)
      end
      line
    end

    # Reads until the block finds something in what has come, and returns that. Nobody can hold it up by sending.
    def await(deadline)
      until (found = yield)
        raise Failure, "no answer in time" if Clock.now >= deadline

        fill || wait_until(deadline)
      end
      found
    end

    # Waits until the other side closes the connection. What it says is not heard.
    def await_end(deadline) = await(deadline) { @unread.clear && nil }

    # All bytes up to the end of the stream, or as soon as the block says that they are enough.
    def read_all(deadline)
      await(deadline) do
        raise Failure, "the answer has no end" if @unread.bytesize > LONGEST_ANSWER

        yield(@unread) && @unread
      end
    rescue EOFError
      @unread
    end

    # Waits for something to read, or to write if that was not possible before.
    def wait(seconds)
      @tcp.wait(IO::READABLE | (@unsent.empty? ? 0 : IO::WRITABLE), seconds)
    end

    def wait_until(deadline)
      left = [deadline - Clock.now, 0].max
      wait(left.finite? ? left : nil)
      flush
    end

    # Ends the connection for all who have a copy of it. Raises nothing.
    def close
      OPEN.delete(self)
      shut_down if @pid == Process.pid
      close_copy
    end

    # With :WR the server takes this for the end, and what it has sent before can still be read.
    def shut_down(how = :RDWR)
      @tcp&.shutdown(how)
    rescue SystemCallError, IOError
      nil # it has ended already
    end

    def close_copy
      @tcp&.close
    rescue SystemCallError, IOError
      nil
    end

    private

    # Nothing in the block waits: an error in it is hardly one of a handler.
    def marked
      yield
    rescue *BROKEN => e
      raise e.extend(Broken)
    end

    def resolve(host, port, deadline)
      Addrinfo.getaddrinfo(host, port, nil, :STREAM, nil, Socket::AI_NUMERICHOST)
    rescue SocketError
      resolve_name(host, port, deadline)
    end

    # In a thread, since the system's resolver can neither be interrupted nor given a time.
    def resolve_name(host, port, deadline)
      thread = Background.run("the address of #{host}") do
        Thread.current.report_on_exception = false # it is raised here
        marked { Addrinfo.getaddrinfo(host, port, nil, :STREAM) }
      end
      return thread.value if thread.join([deadline - Clock.now, 0].max)

      marked { raise Errno::ETIMEDOUT, "the address of #{host}" }
    end

    # Each address has its share of the time.
    def connect(addresses, deadline)
      addresses.each_with_index do |address, index|
        return dial(address, Clock.now + ((deadline - Clock.now) / (addresses.size - index)))
      rescue Broken
        close
        raise if address.equal?(addresses.last)
      end
    end

    # Ruby's sockets are closed by exec: a program that is started while the lock is held does not hold it.
    def dial(address, deadline)
      @io = @tcp = marked { Socket.new(address.afamily, :STREAM) }
      OPEN[self] = true
      step_by_step(deadline, address.inspect_sockaddr) { @tcp.connect_nonblock(address, exception: false) }
    end

    # Does what cannot be done at once, for as long as it says what it waits for.
    def step_by_step(deadline, what, &step)
      while (wanted = marked(&step)).is_a?(Symbol)
        left = deadline - Clock.now
        has_come = left.positive? && @tcp.public_send(wanted, left)
        marked { raise Errno::ETIMEDOUT, what } unless has_come
      end
    end

    # While a lock is waited for, these find a server that has vanished, within half a minute.
    def options
      @tcp.setsockopt(:TCP, :NODELAY, true)
      @tcp.setsockopt(:SOCKET, :KEEPALIVE, true)
      { KEEPIDLE: 10, KEEPINTVL: 5, KEEPCNT: 3 }.each do |option, value|
        @tcp.setsockopt(:TCP, option, value) if Socket.const_defined?("TCP_#{option}")
      end
    end

    def encrypt(host, tls, deadline)
      @io = OpenSSL::SSL::SSLSocket.new(@tcp, tls)
      @io.sync_close = false
      @io.hostname = host
      step_by_step(deadline, "the TLS handshake with #{host}") { @io.connect_nonblock(exception: false) }
      marked { @io.post_connection_check(host) } unless tls.verify_mode == OpenSSL::SSL::VERIFY_NONE
    end
  end

  private_constant :Broken, :Failure, :Wire
end
