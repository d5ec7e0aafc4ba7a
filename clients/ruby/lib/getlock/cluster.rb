# frozen_string_literal: true

class GetLock
  # What the connections of one client know together: the addresses, and the cluster behind them if there is one.
  class Cluster
    OUTDATED = "the server that answered no longer leads its cluster"
    # Seconds until the next of several addresses is tried.
    CONNECT_TIME = 3
    # The same for one that is connected and silent: all nodes of a cluster are held up alike.
    TURN_TIME = 5
    # The share of the longest promise that the work has for stopping by default, and the most that it may have.
    TO_STOP = 0.2
    MOST_TO_STOP = 0.3
    # So often it is asked for: each tenth of --cluster-ttl, of which it is nine tenths. Other promises are shorter:
    # they have what is left to the leader.
    ASKED_PER_PROMISE = 9

    attr_reader :longest

    def initialize(addresses)
      @addresses = addresses
      @good = addresses.first
      @term = 0
      @longest = 0.0
      @mutex = Mutex.new
    end

    # All addresses in the order of the tries: the last good one is the first.
    def round = @addresses.rotate(@addresses.index(@good))

    def served(address)
      @good = address
    end

    # The address behind this one, round and round.
    def after(address) = @addresses[(@addresses.index(address) + 1) % @addresses.size]

    def several? = @addresses.size > 1

    def connect_time = several? ? CONNECT_TIME : ANSWER_TIME

    def first_answer_time = several? ? TURN_TIME : PARKED_TIME

    # Whether an answer of that term counts. One of a lower term than was seen is of a leader that no longer leads.
    def takes?(term, left = 0.0)
      @mutex.synchronize do
        return false if term < @term

        @term = term
        @longest = [@longest, left].max
        true
      end
    end

    def check(stop_within)
      most = @longest * MOST_TO_STOP
      return if stop_within.nil? || most.zero? || stop_within <= most

      raise ArgumentError, "stop_within is #{stop_within} s, which is too long for this cluster: choose " \
                           "#{most.round(3)} s at most, or a greater --cluster-ttl or --takeover-delay of the servers, " \
                           "of which a fifth is always short enough"
    end

    def inspect = @addresses.join(", ")
  end

  # Where a server is, for the line protocol.
  Address = Struct.new(:host, :port) do
    # Of `"a:3305,b:3305"` or an Array of such. `port` is that of those without one.
    def self.all(hosts, port)
      Check.port(port)
      Check.parts(hosts, "host").map { |text| of(text, port) }
    end

    def self.of(text, port)
      match = /\A(?<host>\[[^\]]*\]|[^:\[\]]*):(?<port>\d{1,5})\z/.match(text)
      host = (match ? match[:host] : text).delete_prefix("[").delete_suffix("]")
      raise ArgumentError, "host must be like 127.0.0.1 or a:3305,b:3305, and not empty" if host.empty?

      new(host, match ? Check.port(Integer(match[:port], 10)) : port)
    end

    def to_s = "#{host}:#{port}"
  end

  private_constant :Cluster, :Address
end
