# What every driver does, step by step: see steps.py.
def say(word)
  puts word
  $stdout.flush
  $stdin.gets
end

def equal(got, wanted)
  raise "#{got.inspect} is not #{wanted.inspect}" unless got == wanted
end

# The block is given SQL and its values; its value is the first of the first row.
def steps
  equal(yield("SELECT GET_LOCK('nightly', 10)"), 1)
  say("held")
  equal(yield("SELECT RELEASE_LOCK('nightly')"), 1)
  say("released")
  equal(yield("SELECT GET_LOCK(?, ?)", "nightly", 0), 0)
  say("refused")
  equal(yield("SELECT GET_LOCK(?, ?)", "nightly", 10.5), 1)
  equal(yield("SELECT IS_USED_LOCK(?) = CONNECTION_ID()", "nightly"), 1)
  say("again")
  exit! 0 # without a goodbye
end
