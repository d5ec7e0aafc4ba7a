# frozen_string_literal: true

require "etc"
require "socket"

class GetLock
  # What the lists of the server show of this client: a name, `user@host[pid] program` by default, and a note.
  class Identity
    # Characters of a name or a note.
    LONGEST = 256

    # Nil is no text.
    def self.check(value, what)
      return if value.nil?

      text = Check.text(value, what)
      return text if text.length <= LONGEST

      raise ArgumentError, "#{what} has #{text.length} characters; use at most #{LONGEST}"
    end

    attr_reader :note

    def initialize(name, note)
      @name, @note = Identity.check(name, "name"), Identity.check(note, "note")
      raise ArgumentError, "a note needs a name; leave out name: \"\", or the note" if @note && @name == ""
    end

    # Made afresh each time, since a fork changes the process. Nil for those who want to have no name.
    def name
      name = @name || own_name
      name unless name.empty?
    end

    private

    # Never arguments: these may be secret.
    def own_name
      user = begin
        Etc.getpwuid&.name
      rescue ArgumentError
        nil # a container may know no name for its user
      end
      name = "#{user || Process.uid}@#{Socket.gethostname}[#{Process.pid}] #{File.basename($PROGRAM_NAME)}"
      name.dup.force_encoding(Encoding::UTF_8).scrub("?")[0, LONGEST]
    end
  end

  private_constant :Identity
end
