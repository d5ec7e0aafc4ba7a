package getlock

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const mostEvents = 1000 // that wait for a function to return; older ones are dropped

// Event is what happened to a lock. What an event does not have is zero.
type Event struct {
	// Kind is "waiting" if Session waits for what a guard holds, "taken" if it got the lock, "freed" if the holder
	// released it, "lost" if it ended otherwise, and "missed" if events were lost, since they were not read fast
	// enough.
	Kind         string
	Name         string
	Session      int64
	Mode         string // exclusive, shared or permit
	FencingToken int64
	Held         time.Duration
	Cause        string // how it ended, such as release or killed
	Waiters      int64  // how many sessions wait
	Count        int64  // how many events were missed; 0 if nobody knows

	// Fields are all that the server said.
	Fields map[string]string
}

var (
	eventField = regexp.MustCompile(`(?s) ([a-z_]+)=('(?:[^'\\]|\\.|'')*'|[^' ]*)`)
	escaped    = regexp.MustCompile(`(?s)\\u\{[0-9a-fA-F]{1,6}\}|\\.|''`)
	controls   = map[string]string{"n": "\n", "r": "\r", "t": "\t", "b": "\b", "0": "\x00", "Z": "\x1a"}
)

// isEvent tells the lines that nobody has asked for from replies.
func isEvent(line string) bool { return strings.HasPrefix(line, "* ") }

func eventIn(line string) Event {
	word, rest, _ := strings.Cut(strings.TrimPrefix(line, "* "), " ")
	fields := map[string]string{}
	for _, match := range eventField.FindAllStringSubmatch(" "+rest, -1) {
		fields[match[1]] = plain(match[2])
	}
	number := func(key string) int64 {
		number, _ := strconv.ParseUint(fields[key], 10, 63)
		return int64(number)
	}
	seconds, _ := strconv.ParseFloat(fields["held"], 64)
	return Event{
		Kind: strings.ToLower(word), Name: fields["name"], Session: number("session"), Mode: fields["mode"],
		FencingToken: number("fencing_token"), Held: time.Duration(seconds * float64(time.Second)),
		Cause: fields["cause"], Waiters: number("waiters"), Count: number("count"), Fields: fields,
	}
}

// plain is a string that the server wrote, bare or in quotes.
func plain(value string) string {
	if len(value) < 2 || value[0] != '\'' || value[len(value)-1] != '\'' {
		return value
	}
	return escaped.ReplaceAllStringFunc(value[1:len(value)-1], func(escape string) string {
		letter := escape[1:]
		if control, known := controls[letter]; known {
			return control
		}
		if code, err := strconv.ParseUint(strings.Trim(letter, "u{}"), 16, 32); err == nil && len(letter) > 1 {
			if !utf8.ValidRune(rune(code)) {
				return "\ufffd"
			}
			return string(rune(code))
		}
		return letter
	})
}

// teller calls a function for one event after the other, so that the reader of the connection need not wait for it.
type teller struct {
	function func(Event)
	mu       sync.Mutex
	events   []Event
	isBusy   bool
}

func (t *teller) tell(event Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.events = append(t.events, event); len(t.events) > mostEvents {
		t.events = t.events[1:]
	}
	if !t.isBusy {
		t.isBusy = true
		go t.run()
	}
}

func (t *teller) run() {
	for event, ok := t.next(); ok; event, ok = t.next() {
		t.function(event)
	}
}

func (t *teller) next() (event Event, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.isBusy = len(t.events) > 0; !t.isBusy {
		return Event{}, false
	}
	event, t.events = t.events[0], t.events[1:]
	return event, true
}

// waitersTo is what hears of events, and calls function with those of waiters.
func waitersTo(function func(Event)) func(Event) {
	t := &teller{function: function}
	return func(event Event) {
		if event.Kind == "waiting" {
			t.tell(event)
		}
	}
}

// Watch tells what happens to the locks whose names begin with a prefix.
type Watch struct {
	events chan Event
	err    error
}

// Watch watches the locks whose names begin with prefix, from the moment on in which it returns, until ctx ends. A
// connection that breaks is made again, and an event "missed" with a Count of 0 says so.
//
// A program that reads too slowly misses events, and is told how many. A Watch that nobody reads any more needs the end of
// its context.
func (s Server) Watch(ctx context.Context, prefix string) (*Watch, error) {
	if !utf8.ValidString(prefix) {
		return nil, errPrefix
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	c, err := s.observe(ctx, prefix)
	if err != nil {
		return nil, err
	}
	w := &Watch{events: make(chan Event)}
	go w.run(ctx, c, func() (*conn, error) { return s.observe(ctx, prefix) })
	return w, nil
}

// Events has one event after the other. It is closed at the end.
func (w *Watch) Events() <-chan Event { return w.events }

// Err is why Events was closed: the error of the context, or a *Refused. Ask when it is closed, and not before.
func (w *Watch) Err() error { return w.err }

// observe is a connection on which the server tells what happens.
func (s Server) observe(ctx context.Context, prefix string) (*conn, error) {
	line := "WATCH"
	if prefix != "" {
		line += " " + quoted(prefix)
	}
	wait := &wait{Server: s, timeout: Forever, start: time.Now()}
	return reach(ctx, wait, func(c *conn) (served bool, err error) {
		c.SetDeadline(time.Now().Add(c.cluster.firstAnswerTime()))
		var session int64
		if err = c.ask(append(s.greeting(), line)...); err == nil {
			session, err = s.greeted(c)
		}
		if err == nil {
			err = c.confirmed()
		}
		c.SetDeadline(time.Time{})
		return session != 0, err
	})
}

func (w *Watch) run(ctx context.Context, c *conn, again func() (*conn, error)) {
	defer close(w.events)
	for w.err == nil {
		err := w.pass(ctx, c)
		c.Close()
		w.send(ctx, Event{Kind: "missed", Fields: map[string]string{}})
		if ctx.Err() != nil {
			w.err = ctx.Err()
		} else if w.err = err; !final(err) {
			c, w.err = again()
		}
	}
}

// pass hands out what the server tells, until the connection or the context ends.
func (w *Watch) pass(ctx context.Context, c *conn) error {
	stay := c.leaveWith(ctx)
	defer stay()
	c.tell = func(event Event) {
		switch event.Kind {
		case "taken", "freed", "lost", "missed": // words of servers to come are not known here
			w.send(ctx, event)
		}
	}
	line, err := c.line()
	if err == nil {
		err = unexpected(line)
	}
	return err
}

func (w *Watch) send(ctx context.Context, event Event) {
	select {
	case w.events <- event:
	case <-ctx.Done():
	}
}
